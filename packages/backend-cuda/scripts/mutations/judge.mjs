// node judge.mjs NAMES: runs the cases of those names on the emulated device; exits with 1 at the first that fails.
import { writeSync } from 'node:fs';
import { provider } from '@lazy-attention/backend-cuda';
import { conformanceCases } from '@lazy-attention/conformance';
import { Backend } from '@lazy-attention/core';
import { tileCases } from '../../test/tile-cases.mjs';

const wanted = new RegExp(process.argv[2].replaceAll(' ', '.*'));
const cases = [...tileCases, ...conformanceCases({ dtypes: ['f32', 'bf16', 'f16'], size: 'full' })].filter(({ name }) =>
  wanted.test(name),
);
if (cases.length === 0) throw new Error(`no case is called '${wanted}'`);
const backend = new Backend(await provider.create({ device: 'emulated' }));
for (const { name, run } of cases) {
  try {
    await run(backend);
  } catch (error) {
    // Not console.log, which a pipe may not have taken yet when the process ends.
    writeSync(1, `${name}: ${(error.cause ?? error).message}\n`);
    process.exit(1);
  }
}
process.exit(0);
