// npm run test:mutations [-- --only TEXT]
//
// Are the tests on the emulated device able to fail? Each mutation of mutations/list.mjs is compiled, linked with the rest of
// the emulated addon, and must be caught, by a report of the emulation or by a wrong result. A mutation that survives,
// or whose text is no longer in the sources, fails the run. `npm test` tries some of them (test/mutations.test.ts).
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { MUTATIONS } from './mutations/list.mjs';
import { built, tryMutation } from './mutations/try.mjs';

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
if (!built) throw new Error('build the emulated device first: npm run build');
const mutations = MUTATIONS.filter(({ name }) => name.includes(values.only));
const survivors = [];
const queue = mutations.values();
const worker = async () => {
  for (const mutation of queue) {
    const start = performance.now();
    const { caught, how } = await tryMutation(mutation);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${caught ? 'caught  ' : 'SURVIVED'} ${mutation.name} (${seconds} s)\n         ${how}`);
    if (!caught) survivors.push(mutation.name);
  }
};
await Promise.all(Array.from({ length: availableParallelism() }, worker));
console.log(`${mutations.length - survivors.length} of ${mutations.length} mutations caught`);
process.exit(survivors.length === 0 && mutations.length > 0 ? 0 : 1);
