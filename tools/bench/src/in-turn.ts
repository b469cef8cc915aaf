/**
 * node tools/bench/dist/in-turn.js BEFORE AFTER [--rounds N] [--calls N] [--length N]
 *
 * Times attention of two builds of one backend in turn in one process: BEFORE and AFTER are each the index.js of a backend package that
 * was built, or a binary of backend-cpu. Prints, for forward and forward+backward, the medians and the median of the ratios of rounds.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Backend, type BackendProvider, normal, uniform } from '@lazy-attention/core';
import { median } from './measure.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '20' },
    calls: { type: 'string', default: '5' },
    length: { type: 'string', default: '1024' },
  },
});
const [rounds, calls, length] = [Number(values.rounds), Number(values.calls), Number(values.length)];
if (positionals.length !== 2) throw new Error('in-turn: expected two builds, BEFORE and AFTER');

if (![rounds, calls, length].every((count) => Number.isInteger(count) && count > 0)) {
  throw new Error('in-turn: --rounds, --calls and --length are whole numbers from 1');
}

const [batch, heads, headDim, window] = [1, 8, 64, 512];

/** Milliseconds of one call. */
type Timed = () => Promise<number>;

/** Forward, and forward with backward, on a build. `index` tells two binaries below one package apart. */
async function load(path: string, index: number): Promise<{ device: string; timed: readonly [Timed, Timed] }> {
  let module = pathToFileURL(resolve(path)).href;
  if (path.endsWith('.node')) {
    process.env.LAZY_ATTENTION_CPU_ADDON = resolve(path);
    module = `${import.meta.resolve('@lazy-attention/backend-cpu')}?${index}`;
  }
  const { provider } = (await import(module)) as { provider: BackendProvider };
  const kernels = await provider.create({});
  const backend = new Backend(kernels);
  const random = uniform(7, 'in turn');
  const tensor = (shape: number[]) => {
    const values = normal(
      shape.reduce((product, size) => product * size, 1),
      1,
      random,
    );
    return backend.tensor(Float32Array.from(values), shape);
  };
  const operand = () => tensor([batch, length, heads, headDim]);
  const [q, k, v, dOutput] = [operand(), operand(), operand(), operand()];
  const learned = { bias: tensor([heads, window]), tau: backend.full([heads], -1) };
  const timed = (run: () => void): Timed => {
    return async () => {
      const begin = performance.now();
      for (let call = 0; call < calls; call++) backend.scope(() => run());
      await kernels.synchronize();
      return (performance.now() - begin) / calls;
    };
  };
  return {
    device: kernels.device,
    timed: [
      timed(() => void backend.attention(q, k, v, { ...learned, save: false })),
      timed(() => {
        const { saved } = backend.attention(q, k, v, learned);
        backend.attentionGrad(dOutput, saved);
      }),
    ],
  };
}

const builds = [await load(positionals[0] as string, 0), await load(positionals[1] as string, 1)] as const;
console.log(builds[0].device);
for (const [part, name] of ['forward', 'forward+backward'].entries()) {
  const times: [number[], number[]] = [[], []];
  for (let round = -2; round < rounds; round++) {
    // Which is first changes, so that neither always finds what the other left in the caches.
    for (const at of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const time = await (builds[at] as (typeof builds)[0]).timed[part as 0 | 1]();
      if (round >= 0) times[at as 0 | 1].push(time);
    }
  }
  const ratios = times[1].map((after, i) => after / (times[0][i] as number));
  console.log(
    `(${batch}, ${heads}, ${length}, ${headDim}) ${name}: before ${median(times[0]).toFixed(3)} ms, after ${median(times[1]).toFixed(3)} ms; ` +
      `ratio of medians ${(median(times[1]) / median(times[0])).toFixed(4)}, median of ratios ${median(ratios).toFixed(4)}, ${rounds} rounds`,
  );
}
process.exit(0);
