// node tools/release/bundles.mjs [BUNDLER ...]: every entry that a page imports, with every bundler or those named, as a table.
import { join } from 'node:path';
import { asTable, bundleMatrix } from './lib/matrix.mjs';

const cells = await bundleMatrix(
  join(import.meta.dirname, 'build', 'bundles'),
  process.argv.length > 2 ? { bundlers: process.argv.slice(2) } : {},
);
console.log(asTable(cells));
process.exitCode = cells.every(({ ok }) => ok) ? 0 : 1;
process.exit(); // a bundler may keep a process of its own alive
