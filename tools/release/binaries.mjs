// node tools/release/binaries.mjs     every binary in packages/*/build/<target>/ as a table: what it needs and exports
// --try                               runs those for which there is a Node here: this one, and those in NODE_FOR_LINUX_X64_MUSL ...
// --write                             puts the table into README.md, too
// What was tried is kept in build/binaries.json, and shown as long as the binary is the same.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../setup/lib/workspaces.mjs';
import { binaryFaults, needsOf } from './lib/cross/check.mjs';
import { tryBinary } from './lib/cross/try.mjs';
import { binariesOf, NATIVE, REQUIRED } from './lib/stage.mjs';
import { markdown, writeTable } from './lib/tables.mjs';

const { values } = parseArgs({
  options: { try: { type: 'boolean', default: false }, write: { type: 'boolean', default: false } },
});
const build = join(import.meta.dirname, 'build');
const kept = join(build, 'binaries.json');
const tried = existsSync(kept) ? JSON.parse(readFileSync(kept, 'utf8')) : {};

const binaries = Object.keys(NATIVE).flatMap((name) =>
  binariesOf(root, name)
    .filter(({ target }) => REQUIRED[name].includes(target))
    .map((binary) => ({ name, ...binary })),
);
let wrong = false;
const rows = binaries.map((binary) => {
  const bytes = readFileSync(binary.path);
  const digest = createHash('sha256').update(bytes).digest('hex');
  if (values.try && tried[digest]?.ok !== true) {
    const result = tryBinary(binary, join(build, 'tried'));
    if (result !== null) tried[digest] = result;
    mkdirSync(build, { recursive: true });
    writeFileSync(kept, `${JSON.stringify(tried, null, 2)}\n`);
  }
  const faults = binaryFaults(binary.path, binary.target);
  const run = tried[digest];
  wrong ||= faults.length > 0 || run?.ok === false;
  return [
    `${binary.name}, ${binary.target}`,
    `${(bytes.length / 1e3).toFixed(0)} kB`,
    faults.length === 0 ? needsOf(binary.path) : '',
    faults.length === 0 ? 'nothing wrong' : faults.join('; '),
    run?.said ?? 'not here',
  ];
});
const missing = Object.entries(REQUIRED).flatMap(([name, targets]) =>
  targets
    .filter((target) => !binaries.some((binary) => binary.name === name && binary.target === target))
    .map((target) => [`${name}, ${target}`, 'not built', '', '', '']),
);
const table = markdown([['binary', 'size', 'needs', 'read', 'run'], ...rows, ...missing]);
console.log(table);
if (values.write) writeTable('binaries', table);
process.exitCode = wrong ? 1 : 0;
