// node tools/release/runtimes.mjs [RUNTIME ...]: every runtime, or those named, with every backend of the built tree: 20 steps of a
// tiny model and the last loss, as a table and in build/runtimes.json. Not 0 where a backend that is there does not train.
// --write                              puts the table into README.md, too
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { asTable, runtimeMatrix } from './lib/runtimes.mjs';
import { writeTable } from './lib/tables.mjs';

const { values, positionals: names } = parseArgs({
  options: { write: { type: 'boolean', default: false } },
  allowPositionals: true,
});
if (values.write && names.length > 0) throw new Error('--write makes the whole table: name no runtime with it');
const matrix = await runtimeMatrix(names.length > 0 ? names : undefined);
const build = join(import.meta.dirname, 'build');
mkdirSync(build, { recursive: true });
writeFileSync(join(build, 'runtimes.json'), `${JSON.stringify(matrix, null, 2)}\n`);
console.log(asTable(matrix));
if (values.write) writeTable('runtimes', asTable(matrix));
for (const { runtime, absent } of matrix.runtimes)
  if (absent !== undefined) console.log(`${runtime} is absent: ${absent}`);
const notHere = matrix.cells.filter(({ ok }) => ok === null);
for (const line of new Set(notHere.map(({ backend, said }) => `${backend} is not here: ${said}`))) console.log(line);
process.exitCode = matrix.cells.every(({ ok }) => ok !== false) ? 0 : 1;
