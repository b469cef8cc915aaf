/**
 * One child process: tries the cases `from`, `from + 1`, ... of one target until it is told to stop or one fails. Before
 * each case it writes the case's number, so that the parent knows which one hung, grew or crashed.
 *
 *   node child.js TARGET SEED FROM COUNT
 *
 * Lines on standard output: `case N`, `done COUNT ACCEPTED`, `failed MESSAGE` (JSON string).
 */
import { mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomOf } from './random.ts';
import { TARGETS } from './targets/index.ts';

const say = (line: string) => writeSync(1, `${line}\n`);

const [name = '', seed = '0', from = '0', count = '1'] = process.argv.slice(2);
const target = TARGETS.find((candidate) => candidate.name === name);
if (target === undefined) throw new Error(`no target '${name}'; there are ${TARGETS.map((t) => t.name).join(', ')}`);

let failed = false;
const fail = (error: unknown) => {
  failed = true;
  say(`failed ${JSON.stringify(error instanceof Error ? (error.stack ?? error.message) : String(error))}`);
};
process.on('unhandledRejection', (error) => {
  fail(error);
  process.exit(1);
});

const folder = mkdtempSync(join(tmpdir(), 'lazy-fuzz-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const prepared = await target.prepare(folder);
let [tried, accepted] = [0, 0];
for (let index = Number(from); index < Number(from) + Number(count) && !failed; index++) {
  say(`case ${index}`);
  try {
    const outcome = await prepared.attempt(randomOf(Number(seed), name, index));
    tried += outcome.count;
    accepted += outcome.accepted;
  } catch (error) {
    fail(error);
  }
}
say(`done ${tried} ${accepted}`);
await prepared.close();
process.exit(failed ? 1 : 0);
