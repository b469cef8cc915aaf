// node tools/release/bundles.mjs [BUNDLER ...]: every entry that a page imports, with every bundler or those named, as a table.
// --write                             puts it into README.md, too
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { asTable, bundleMatrix } from './lib/matrix.mjs';
import { writeTable } from './lib/tables.mjs';

const { values, positionals: bundlers } = parseArgs({
  options: { write: { type: 'boolean', default: false } },
  allowPositionals: true,
});
if (values.write && bundlers.length > 0) throw new Error('--write makes the whole table: name no bundler with it');
const folder = join(import.meta.dirname, 'build', 'bundles');
const cells = await bundleMatrix(folder, bundlers.length > 0 ? { bundlers } : {});
console.log(asTable(cells));
if (values.write) writeTable('bundles', asTable(cells));
process.exitCode = cells.every(({ ok }) => ok) ? 0 : 1;
process.exit(); // a bundler may keep a process of its own alive
