/**
 * Fine-tuning a real model on the cpu backend beside PyTorch on the same weights, step by step in turn in one run:
 *
 *   node tools/bench/dist/finetune.js --model FILE [--batch N] [--length N] [--warmups N] [--repeats N] [--only TEXT,TEXT] [--output FILE]
 *
 * FILE is a Hugging Face folder or a GGUF file, by default SmolLM2's in the folder that LAZY_ATTENTION_MODELS names. PyTorch and
 * transformers are those of LAZY_ATTENTION_PYTHON, else of python3. --only chooses programs of ours whose name holds one of the
 * texts; PyTorch stands for both of its.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ceilings } from '@lazy-attention/backend-cpu';
import { openModel } from '@lazy-attention/models/node';
import { flopsPerToken } from '@lazy-attention/nn';
import { median, PAUSE_MS } from './measure.ts';
import { modelFile } from './model-file.ts';
import { type FinetuneBatch, type Finetuner, ourFinetuner, ourName, torchFinetuners } from './peers/finetune.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    batch: { type: 'string', default: '4' },
    length: { type: 'string', default: '256' },
    warmups: { type: 'string', default: '1' },
    repeats: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    output: { type: 'string' },
  },
});

const file = resolve(modelFile(values.model));
const [batch, length] = [Number(values.batch), Number(values.length)];
const [warmups, repeats] = [Number(values.warmups), Number(values.repeats)];
const wanted = (name: string) => values.only.split(',').some((text) => name.includes(text));

const opened = await openModel(file);
if (opened.tokenizer === null) throw new Error(`${file} has no tokenizer`);
const text = opened.tokenizer.encode(readFileSync(new URL('../README.md', import.meta.url), 'utf8').repeat(8));
const tokens = batch * length;
const data: FinetuneBatch = { batch, length, tokens: text.slice(0, tokens), targets: text.slice(1, tokens + 1) };

const before = await ceilings({ bytes: 1 << 28 });
const programs: Finetuner[] = [];
for (const [attention, computeDType] of [
  ['softmax', null],
  ['lazy', null],
  ['softmax', 'bf16'],
] as const) {
  const name = ourName(attention, computeDType);
  if (!wanted(name)) continue;
  const own = await ourFinetuner(opened, attention, computeDType, data);
  if ('absent' in own) console.log(`absent: ${name}: ${own.absent}`);
  else programs.push(own);
}
if (wanted('PyTorch')) {
  const torch = await torchFinetuners(file, data);
  if ('absent' in torch) console.log(`absent: PyTorch: ${torch.absent}`);
  else programs.push(...torch);
}
await opened.close();

const results = programs.map(({ name }) => ({ name, milliseconds: [] as number[], losses: [] as number[] }));
for (let round = 0; round < warmups + repeats; round++) {
  for (const [i, program] of programs.entries()) {
    await setTimeout(PAUSE_MS);
    const { milliseconds, loss } = await program.step();
    results[i].losses.push(loss);
    if (round >= warmups) results[i].milliseconds.push(milliseconds);
  }
}
for (const program of programs) await program.close();

// Before and after, so that a machine that was busy shows.
const machine = [before, await ceilings({ bytes: 1 << 28 })];
const peak = Math.max(...machine.map(({ flopsPerSecond }) => flopsPerSecond));
const flops = flopsPerToken({ ...opened.config, context: length }) * tokens;
console.log(
  `machine: ${cpus()[0].model}, ${machine.map((one) => (one.flopsPerSecond / 1e9).toFixed(0)).join(' and ')} GFLOP/s FMA peak; ` +
    `a step is ${(flops / 1e9).toFixed(0)} GFLOP of products, so ${(flops / peak).toFixed(2)} s in f32 at best`,
);
console.log(`\n| program, ${batch} x ${length} tokens a step | median s | tokens/s | of FMA peak | first loss |`);
console.log('|---|---:|---:|---:|---:|');
for (const { name, milliseconds, losses } of results) {
  const seconds = median(milliseconds) / 1000;
  const share = (100 * flops) / seconds / peak;
  console.log(
    `| ${name} | ${seconds.toFixed(2)} | ${(tokens / seconds).toFixed(0)} | ${share.toFixed(0)} % | ${losses[0]?.toFixed(4)} |`,
  );
}
if (values.output !== undefined) {
  mkdirSync(dirname(values.output), { recursive: true });
  const about = { date: new Date().toISOString(), processor: cpus()[0].model, cores: availableParallelism(), machine };
  writeFileSync(
    values.output,
    `${JSON.stringify({ ...about, file: basename(file), batch, length, flops, results }, null, 1)}\n`,
  );
}
