import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const windows = process.platform === 'win32';

/**
 * Installs what `manifest` and `names` ask for into a folder of its own, without install scripts; for programs that are no
 * dependency of the repository. @returns false where npm cannot, having said why on standard error
 */
export function npmInstall(folder, { manifest = {}, names = [] }) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, ...manifest }));
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  try {
    execFileSync(windows ? 'npm.cmd' : 'npm', ['install', ...names, ...options], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
      shell: windows,
    });
    return true;
  } catch {
    return false;
  }
}
