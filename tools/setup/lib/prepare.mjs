import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runOrExit, turbo } from './run.mjs';
import { root } from './workspaces.mjs';

const OLDEST = [20, 19];

/** Refuses a Node that is too old before anything else can fail in a stranger way. */
export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return;
  console.error(`Node ${process.versions.node} is too old; lazy-attention needs ${OLDEST.join('.')} or later.`);
  process.exit(1);
}

/** Installs dependencies unless the ones that are there came from this very lock file. */
export function install() {
  const stamp = join(root, 'node_modules', '.installed-from');
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  console.log('Installing dependencies ...');
  // onnxruntime-node would otherwise download CUDA libraries that nothing here needs.
  runOrExit('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { ONNXRUNTIME_NODE_INSTALL: 'skip' });
  writeFileSync(stamp, lock);
}

export function build() {
  const code = turbo(['run', 'build', '--output-logs=errors-only', '--concurrency=2']);
  if (code !== 0) process.exit(code);
}

export function prepare() {
  checkNode();
  install();
  build();
}
