import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../workspaces.mjs';

/** Paths of the repository's own files, those that are not committed yet included, with '/'. */
export function ownFiles() {
  const list = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  return list
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(root, path)) && statSync(join(root, path)).isFile());
}

/** The files whose path matches, as { path, text }. */
export function readFiles(paths, pattern) {
  return paths
    .filter((path) => pattern.test(path))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** Sources of ours that people read and change: no tests, no fixtures, nothing generated. */
export const SOURCE =
  /^(packages|apps|tools|examples)\/(?!.*(^|\/)(test|tests|fixtures|vendor)\/).*\.(ts|tsx|mjs|js|cpp|h|cu|cuh)$/;

/** Text that people write; the changelogs are made of changesets. */
export const MARKDOWN = /(?<!(^|\/)CHANGELOG)\.md$/;
