// npm test: set-up, build, every package's tests, and one line that adds them up.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { prepare } from './lib/prepare.mjs';
import { turbo } from './lib/run.mjs';
import { addUp } from './lib/summary.mjs';
import { root, workspaces } from './lib/workspaces.mjs';

const REPORT = 'test-results/vitest.json';

if (!prepare()) {
  console.log('\nset-up failed; no test ran\n');
  console.log('0 passed, 1 failed, 0 skipped');
  process.exit(1);
}
const tested = workspaces().filter(({ manifest }) => manifest.scripts?.test !== undefined);
for (const { folder } of tested) rmSync(join(root, folder, 'test-results'), { recursive: true, force: true });

// A busy machine is no reason to fail: what takes seconds alone may take minutes beside others.
const PATIENCE = ['--testTimeout=600000', '--hookTimeout=600000'];
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${REPORT}`];
const code = turbo([
  'run',
  'test',
  '--continue',
  '--concurrency=2',
  '--output-logs=new-only',
  ...process.argv.slice(2),
  '--',
  ...PATIENCE,
  ...reporters,
]);

const reports = tested.map(({ folder, manifest }) => {
  const file = join(root, folder, REPORT);
  return { name: manifest.name, report: existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null };
});
const { lines, passed, failed, skipped } = addUp(reports);
console.log(`\n${lines.join('\n')}\n`);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed > 0 || passed === 0 ? 1 : code);
