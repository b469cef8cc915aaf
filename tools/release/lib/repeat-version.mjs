import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** What the changesets of the repository at `root` ask for, in its manifests and CHANGELOGs. */
export function applyChangesets(root) {
  const cli = createRequire(import.meta.url).resolve('@changesets/cli/bin.js');
  execFileSync(process.execPath, [cli, 'version'], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
}

/** Writes core's version where it stands a second time: in its source and in the lock file. @returns the version */
export function repeatVersion(root) {
  const { version } = JSON.parse(readFileSync(join(root, 'packages/core/package.json'), 'utf8'));
  const source = join(root, 'packages/core/src/version.ts');
  const text = readFileSync(source, 'utf8');
  const changed = text.replace(/VERSION = '[^']*'/, `VERSION = '${version}'`);
  if (changed === text && !text.includes(`'${version}'`)) throw new Error(`${source} has no line VERSION = '...'`);
  writeFileSync(source, changed);
  execFileSync(
    'npm',
    ['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
    {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  return version;
}
