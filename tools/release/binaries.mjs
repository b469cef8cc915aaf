// node tools/release/binaries.mjs     every binary in packages/*/build/<target>/ as a table: what it needs and exports
// --try                               runs those for which there is a Node here: this one, and those in NODE_FOR_LINUX_X64_MUSL ...
// --write                             puts the table into README.md, too
// What was tried, and of which commit a binary is, is kept in build/binaries.json, and shown as long as the binary is the same.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../setup/lib/workspaces.mjs';
import { binaryFaults, needsOf } from './lib/cross/check.mjs';
import { keep, known } from './lib/cross/kept.mjs';
import { tryBinary } from './lib/cross/try.mjs';
import { binariesOf, NATIVE, REQUIRED } from './lib/stage.mjs';
import { markdown, writeTable } from './lib/tables.mjs';

const { values } = parseArgs({
  options: { try: { type: 'boolean', default: false }, write: { type: 'boolean', default: false } },
});

const binaries = Object.keys(NATIVE).flatMap((name) =>
  binariesOf(root, name)
    .filter(({ target }) => REQUIRED[name].includes(target))
    .map((binary) => ({ name, ...binary })),
);
let wrong = false;
const rows = binaries.map((binary) => {
  const bytes = readFileSync(binary.path);
  if (values.try && known(bytes).ok !== true) {
    const result = tryBinary(binary, join(import.meta.dirname, 'build/tried'));
    if (result !== null) keep(bytes, result);
  }
  const faults = binaryFaults(binary.path, binary.target);
  const { commit = '', ok, said = 'not here' } = known(bytes);
  wrong ||= faults.length > 0 || ok === false;
  return [
    `${binary.name}, ${binary.target}`,
    `${(bytes.length / 1e3).toFixed(0)} kB`,
    faults.length === 0 ? needsOf(binary.path) : '',
    faults.length === 0 ? 'nothing wrong' : faults.join('; '),
    said,
    commit.slice(0, 10),
  ];
});
const missing = Object.entries(REQUIRED).flatMap(([name, targets]) =>
  targets
    .filter((target) => !binaries.some((binary) => binary.name === name && binary.target === target))
    .map((target) => [`${name}, ${target}`, 'not built', '', '', '', '']),
);
const table = markdown([['binary', 'size', 'needs', 'read', 'run', 'of commit'], ...rows, ...missing]);
console.log(table);
if (values.write) writeTable('binaries', table);
process.exitCode = wrong ? 1 : 0;
