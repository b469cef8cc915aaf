#!/bin/sh
# ./run.sh RESULTS.json [--authors FILE.py] [--skip STEP,...]     STEPs: sanitize, peers, train
set -eu
here=$(cd "$(dirname "$0")" && pwd)
results=${1:?usage: run.sh RESULTS.json [--authors FILE.py] [--skip STEP,...]}
shift
exec "$here/bin/node" "$here/device.mjs" "$results" "$@"
