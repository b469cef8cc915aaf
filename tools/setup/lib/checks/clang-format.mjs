import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../workspaces.mjs';

/** One sentence for each C++ or CUDA file that clang-format would change. */
export function unformatted(paths) {
  if (paths.length === 0) return [];
  const script = join(root, 'node_modules/clang-format-node/build/cli.js');
  const { status, stderr, error } = spawnSync(process.execPath, [script, '--dry-run', '--Werror', ...paths], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (error) return [`clang-format could not be started: ${error.message}`];
  if (status === 0) return [];
  const files = new Set([...stderr.matchAll(/^(.+?):\d+:\d+: error: /gm)].map(([, path]) => path));
  if (files.size === 0) return [`clang-format failed: ${stderr.trim()}`];
  return [...files].map((path) => `${path} is not as clang-format writes it; npm run format`);
}
