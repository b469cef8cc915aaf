import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const windows = process.platform === 'win32';

/** Runs npm and gives what it printed; `stdio` and the like are those of `execFileSync`. On Windows it is a script, which only a shell starts. */
export function npm(args, options = {}) {
  return execFileSync(windows ? 'npm.cmd' : 'npm', args, { encoding: 'utf8', shell: windows, ...options });
}

/**
 * Installs what `manifest` and `names` ask for into a folder of its own, without install scripts; for programs that are no
 * dependency of the repository. @returns false where npm cannot, having said why on standard error
 */
export function npmInstall(folder, { manifest = {}, names = [] }) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, ...manifest }));
  try {
    npm(['install', ...names, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return true;
  } catch {
    return false;
  }
}
