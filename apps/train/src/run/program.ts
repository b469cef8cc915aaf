import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const MANIFEST = fileURLToPath(new URL('../../package.json', import.meta.url));

/** This program's version, and the commit of its sources: written into the package by the release, asked of git in a checkout. */
export function programVersion(): { readonly version: string; readonly commit: string | null } {
  const { version, gitHead } = JSON.parse(readFileSync(MANIFEST, 'utf8')) as { version: string; gitHead?: string };
  return { version, commit: gitHead ?? commitOf(dirname(MANIFEST)) };
}

function commitOf(folder: string): string | null {
  // An installed package may stand in a repository of its user's.
  if (/[\\/]node_modules[\\/]/.test(folder)) return null;
  const args = ['-C', folder, 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'];
  try {
    return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 10_000 }).trim();
  } catch {
    return null; // no git, or no checkout
  }
}
