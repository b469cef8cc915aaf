/**
 * A real model on the cpu backend, its weights held in each way, beside node-llama-cpp on the same file, round after round in one run:
 *
 *   node tools/bench/dist/models.js [--model FILE] [--weights dense,blocks,bf16] [--prompt N] [--tokens N] [--repeats N] [--output FILE]
 *
 * FILE is by default SmolLM2's GGUF in the folder that LAZY_ATTENTION_MODELS names. node-llama-cpp is taken from LAZY_ATTENTION_LLAMA, a
 * folder with node_modules, else from here. Greedy tokens are compared with those of the first way of holding the weights.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ceilings } from '@lazy-attention/backend-cpu';
import type { WeightsFormat } from '@lazy-attention/models';
import { openModel } from '@lazy-attention/models/node';
import { median, PAUSE_MS } from './measure.ts';
import { modelFile } from './model-file.ts';
import { type Continued, llamaProgram, ourProgram, type Program } from './peers/llama.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    weights: { type: 'string', default: 'dense,blocks,bf16' },
    prompt: { type: 'string', default: '256' },
    tokens: { type: 'string', default: '64' },
    repeats: { type: 'string', default: '5' },
    output: { type: 'string' },
  },
});

const file = modelFile(values.model);
const [length, tokens] = [Number(values.prompt), Number(values.tokens)];

const opened = await openModel(file);
if (opened.tokenizer === null) throw new Error(`${file} has no tokenizer`);
// This package's README, which every checkout has; node-llama-cpp keeps prompts, so each round begins elsewhere in it.
const text = opened.tokenizer.encode(readFileSync(new URL('../README.md', import.meta.url), 'utf8').repeat(8));
const promptOf = (round: number) => Array.from(text.slice(round * 7, round * 7 + length));

const machine = await ceilings({ bytes: 1 << 28 });
console.log(`machine: ${cpus()[0].model}, ${(machine.flopsPerSecond / 1e9).toFixed(0)} GFLOP/s FMA peak`);
const programs: Program[] = [];
for (const weights of values.weights.split(',')) programs.push(await ourProgram(opened, weights as WeightsFormat));
const llama = await llamaProgram(file, process.env.LAZY_ATTENTION_LLAMA, length + tokens);
if ('absent' in llama) console.log(`absent: node-llama-cpp: ${llama.absent}`);
else programs.push(llama);

const results = programs.map(({ name }) => ({ name, prompt: [] as number[], decode: [] as number[], agree: tokens }));
for (let round = 0; round <= Number(values.repeats); round++) {
  let expected: Continued | null = null;
  for (const [i, program] of programs.entries()) {
    await setTimeout(PAUSE_MS);
    const found = await program.continue(promptOf(round), tokens);
    expected ??= found;
    const wrong = found.ids.findIndex((id, j) => id !== expected?.ids[j]);
    const { prompt, decode } = results[i];
    results[i].agree = Math.min(results[i].agree, wrong < 0 ? tokens : wrong);
    if (round === 0) continue; // warms up
    prompt.push(length / (found.firstMs / 1000));
    decode.push((tokens - 1) / ((found.allMs - found.firstMs) / 1000));
  }
}
for (const program of programs) await program.close();
await opened.close();

console.log(
  `\n| program | prompt of ${length}, tokens/s | decoding ${tokens}, tokens/s | greedy tokens as the first's, worst prompt |`,
);
console.log('|---|---:|---:|---:|');
for (const { name, prompt, decode, agree } of results) {
  console.log(`| ${name} | ${median(prompt).toFixed(0)} | ${median(decode).toFixed(1)} | ${agree} |`);
}
if (values.output !== undefined) {
  mkdirSync(dirname(values.output), { recursive: true });
  const about = { date: new Date().toISOString(), processor: cpus()[0].model, cores: availableParallelism(), machine };
  writeFileSync(values.output, `${JSON.stringify({ ...about, file, length, tokens, results }, null, 1)}\n`);
}
