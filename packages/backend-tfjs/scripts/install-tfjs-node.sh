#!/bin/sh
# Installs @tensorflow/tfjs-node on the TensorFlow that a Python wheel contains, for machines that cannot download
# libtensorflow. Linux, Node 20 or 22, a C++ compiler, npm, python3 with pip.
#
#   scripts/install-tfjs-node.sh [tensorflow_cpu-....whl]
#
# Without an argument the wheel comes from `pip download tensorflow-cpu`. The result lies in node_modules of this
# package, beside the workspace's own tfjs-core, which it shares: two copies of tfjs-core cannot work together.
# Exits with 3 and a reason where it cannot be done here; CI reports the engine as skipped then.
set -eu

version=4.22.0
package=$(cd "$(dirname "$0")/.." && pwd)
target="$package/node_modules"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
  echo "tfjs-node skipped: $1" >&2
  exit 3
}

[ "$(uname -s)" = Linux ] || skip "the wheel's C library is used on Linux only"
command -v python3 >/dev/null || skip 'no python3'
command -v c++ >/dev/null || skip 'no C++ compiler'

wheel=${1:-}
if [ -z "$wheel" ]; then
  python3 -m pip download --quiet --no-deps --dest "$work" tensorflow-cpu || skip 'pip cannot get tensorflow-cpu'
  wheel=$(ls "$work"/tensorflow_cpu-*.whl)
fi
[ -f "$wheel" ] || skip "no file $wheel"

echo '{"private":true}' >"$work/package.json"
(cd "$work" && npm install --silent --ignore-scripts --no-audit --no-fund "@tensorflow/tfjs-node@$version")
module="$work/node_modules/@tensorflow/tfjs-node"

# The names that tfjs-node links and loads, for the libraries as the wheel names them.
python3 - "$wheel" "$module/deps" <<'PYTHON'
import os, shutil, sys, zipfile
wheel, deps = sys.argv[1:]
os.makedirs(f'{deps}/lib')
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name.startswith('tensorflow/include/'):
            archive.extract(name, f'{deps}/unpacked')
    for source, target in (('libtensorflow_cc.so.2', 'libtensorflow_cc.so.2'),
                           ('libtensorflow_framework.so.2', 'libtensorflow_framework.so.2')):
        with archive.open(f'tensorflow/{source}') as data, open(f'{deps}/lib/{target}', 'wb') as out:
            shutil.copyfileobj(data, out)
shutil.move(f'{deps}/unpacked/tensorflow/include', f'{deps}/include')
shutil.rmtree(f'{deps}/unpacked')
for link in ('libtensorflow.so', 'libtensorflow.so.2', 'libtensorflow.so.2.9.1'):
    os.symlink('libtensorflow_cc.so.2', f'{deps}/lib/{link}')
os.symlink('libtensorflow_framework.so.2', f'{deps}/lib/libtensorflow_framework.so')
PYTHON

# Node's own headers where they are installed beside it, so that node-gyp downloads none.
prefix=$(dirname "$(dirname "$(node -p process.execPath)")")
if [ -f "$prefix/include/node/node_api.h" ]; then export npm_config_nodedir="$prefix"; fi

(cd "$module" && JOBS=2 "$work/node_modules/.bin/node-pre-gyp" install --build-from-source >"$work/build.log" 2>&1) || {
  tail -n 40 "$work/build.log" >&2
  skip 'the binding does not compile'
}
rm -rf "$module/build" "$module/deps/include"

# What the workspace has already must not come twice.
for shared in tfjs-core tfjs-layers tfjs-backend-cpu tfjs-backend-wasm; do rm -rf "$work/node_modules/@tensorflow/$shared"; done
mkdir -p "$target"
cp -a "$work/node_modules/." "$target/"
(cd "$package" && node --input-type=module --eval "
  const { bridgeRemovedUtilities } = await import('./dist/load.js');
  bridgeRemovedUtilities();
  const tf = await import('@tensorflow/tfjs-node');
  console.log('tfjs-node', tf.version_core ?? tf.default.version_core, 'on TensorFlow', (tf.node ?? tf.default.node).getTensorFlowVersion?.() ?? '');
") || skip 'the binding does not load'
