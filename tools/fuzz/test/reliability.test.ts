import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const page = readFileSync(`${root}docs/reliability.md`, 'utf8');
const rows = [...page.matchAll(/^\|.*\]\(\.\.\/(?<file>[^)]+)\) \*(?<name>.+)\* \| (?<commit>\S+) \|/gm)].map(
  ({ groups }) => groups as { file: string; name: string; commit: string },
);

const git = (...args: string[]) => spawnSync('git', ['-C', root, ...args], { encoding: 'utf8', maxBuffer: 2 ** 26 });
/** With all of the history, which a clone in continuous integration lacks. */
const whole = git('rev-parse', '--is-shallow-repository').stdout?.trim() === 'false';

it('every test that docs/reliability.md names is there', () => {
  expect(rows.length).toBeGreaterThan(60);
  for (const { file, name } of rows) {
    expect(readFileSync(root + file, 'utf8'), `${file} has no '${name}'`).toContain(name);
  }
});

it.skipIf(!whole)('and came with the commit that it names (all of the history is needed)', { timeout: 120_000 }, () => {
  for (const { file, name, commit } of rows) {
    expect(git('merge-base', '--is-ancestor', commit, 'HEAD').status, `${commit} is no commit before this`).toBe(0);
    expect(git('show', `${commit}:${file}`).stdout, `${commit} has no '${name}'`).toContain(name);
    expect(git('show', `${commit}^:${file}`).stdout, `'${name}' was there before ${commit}`).not.toContain(name);
  }
});
