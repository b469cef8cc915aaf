import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, turbo } from './run.mjs';
import { root } from './workspaces.mjs';

const OLDEST = [20, 19];

/** Refuses a Node that is too old before anything else can fail in a stranger way. */
function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return true;
  console.error(`Node ${process.versions.node} is too old; lazy-attention needs ${OLDEST.join('.')} or later.`);
  return false;
}

/** Installs dependencies unless the ones that are there came from this very lock file. */
function install() {
  const stamp = join(root, 'node_modules', '.installed-from');
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return true;
  console.log('Installing dependencies ...');
  // onnxruntime-node would otherwise download CUDA libraries that nothing here needs.
  const skipDownloads = { ONNXRUNTIME_NODE_INSTALL: 'skip' };
  if (run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], skipDownloads) !== 0) return false;
  writeFileSync(stamp, lock);
  return true;
}

function build() {
  return turbo(['run', 'build', '--output-logs=errors-only', '--concurrency=2']) === 0;
}

/** Everything a fresh clone needs. False when it failed; why has been printed. */
export function prepare() {
  return checkNode() && install() && build();
}
