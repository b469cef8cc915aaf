// node tools/evidence/write.mjs: fills every table of the docs.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/lib/workspaces.mjs';
import { DOCUMENTS, filled, readTables } from './tables.mjs';

const tables = readTables();
for (const name of DOCUMENTS) {
  const path = join(root, name);
  const text = readFileSync(path, 'utf8');
  const next = filled(text, tables);
  if (next === text) continue;
  writeFileSync(path, next);
  console.log(`${name}: tables made anew`);
}
