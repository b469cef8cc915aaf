// node scripts/roofline.mjs [--measured FILE.json]...
//
// Writes docs/benchmarks/cuda.md: what kernels and a training step must take on an H100 at least, from the instructions that
// issue-slots.mjs counts (it needs nvcc and nvdisasm), from products, exponentials and bytes; beside it what tools/gpu measured,
// where its results (calls A and B) are given.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  disassemble,
  findTools,
  gradIssueSlots,
  hopperGradIssueSlots,
  hopperIssueSlots,
  issueSlots,
  restOfTiles,
} from './issue-slots.mjs';
import { BANDWIDTH, LAYER, predict, product } from './predict.mjs';

const OUTPUT = join(
  dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url))))),
  'docs',
  'benchmarks',
  'cuda.md',
);
// What FlashAttention-2, which uses mma.sync too, is published with at the layer's shape.
const FLASH = 284e12;
const NOT_MEASURED = 'not measured';

const ms = (seconds, digits = 3) => (seconds * 1e3).toFixed(digits);

/** What was measured at a path of the results' steps, in milliseconds, or that it was not. */
function measured(steps, path, digits = 3) {
  const found = path.reduce((value, name) => value?.[name], steps);
  return typeof found === 'number' ? found.toFixed(digits) : NOT_MEASURED;
}

/** Bounds of kernels that run one after another. */
const together = (...all) =>
  Object.fromEntries(Object.keys(all[0]).map((name) => [name, all.reduce((sum, bounds) => sum + bounds[name], 0)]));

function attention(bounds, steps) {
  const row = (name, { issue, products, exponentials, memory, least }, path) => {
    const cells = [issue, products, exponentials, memory, least].map((seconds) => ms(seconds));
    return `| ${name} | ${cells.join(' | ')} | ${path === undefined ? '' : measured(steps, path)} |`;
  };
  const flash = (products, path) =>
    `| FlashAttention-2, softmax, ${products} products at 284 TFLOP/s | | | | | ${ms((products * product(LAYER)) / FLASH)} | ${measured(steps, path)} |`;
  const { inference, training, delta, backward, hopperInference, hopperTraining, hopperBackward } = bounds;
  const path = (step, name, direction) => [step, name, direction, 'medianMs'];
  return [
    '| milliseconds | instructions | tensor cores | exponentials | memory | at least | measured |',
    '|---|---|---|---|---|---|---|',
    row('forward, inference', inference, path('time 64', 'lazy', 'forward')),
    row('forward, training', training),
    row('backward: delta', delta),
    row('backward: dq, dk, dv, dbias', backward),
    row(
      'forward, training, and backward',
      together(training, delta, backward),
      path('time 64', 'lazy', 'forwardBackward'),
    ),
    row('Hopper: forward, inference', hopperInference, path('hopper time 64', 'hopper', 'forward')),
    row('Hopper: forward, training', hopperTraining),
    row('Hopper: backward: dq, dk, dv, dbias', hopperBackward),
    row(
      'Hopper: forward, training, and backward',
      together(hopperTraining, delta, hopperBackward),
      path('hopper time 64', 'hopper', 'forwardBackward'),
    ),
    flash(2, path('time 64', 'flash', 'forward')),
    flash(7, path('time 64', 'flash', 'forwardBackward')),
  ].join('\n');
}

/** A training step of the preset 340m as `tools/gpu` times it: what each kind of work takes at least. */
function trainingStep(steps) {
  const [batch, length, width, hidden, vocabulary, layers, heads] = [8, 2048, 1024, 2816, 32000, 24, 16];
  const tokens = batch * length;
  const weights = layers * (4 * width * width + 3 * width * hidden) + vocabulary * width;
  const parameters = weights + vocabulary * width;
  const useful = tokens * (6 * weights + 3 * layers * 4 * width * ((length + 1) / 2));
  const row = tokens * width * 2; // bytes of an activation
  const ratio = hidden / width;
  // Tensors of that size, read or written. Forward: two norms, RoPE on q and k, SwiGLU. Backward: a norm reads x and dy and
  // writes dx, then the residual's gradient is added; RoPE; SwiGLU.
  const elementwise = 2 * 2 + 4 + 3 * ratio + 2 * (3 + 3) + 4 + 5 * ratio;
  const attention = 9 * product({ B: batch, H: heads, L: length, D: width / heads });
  const own = [
    ['attention, 9 products', (layers * attention) / FLASH],
    ['norms, RoPE, SwiGLU, residual gradients', (layers * elementwise * row) / BANDWIDTH],
    // Weights to bf16 and their gradients back to f32, 6 bytes each; norm of the gradients 4; AdamW 28.
    ['casts of weights and gradients, clipping, AdamW', (parameters * (6 + 6 + 4 + 28)) / BANDWIDTH],
    ['cross-entropy, forward and backward', (3 * tokens * vocabulary * 2) / BANDWIDTH],
  ];
  const line = (name, seconds) => `| ${name} | ${seconds.map((s) => (s * 1e3).toFixed(1)).join(' | ')} |`;
  const rates = [600e12, 750e12];
  const linear = rates.map((rate) => (6 * weights * tokens) / (0.8 * rate));
  const sums = linear.map((seconds) => own.reduce((sum, [, s]) => sum + s, seconds));
  const share = sums.map((seconds, i) => `${((100 * useful) / seconds / rates[i]).toFixed(0)} %`);
  return [
    '| milliseconds of a step | large GEMM at 600 TFLOP/s | at 750 TFLOP/s |',
    '|---|---|---|',
    line('linear layers and LM head, at 80 % of that', linear),
    ...own.map(([name, s]) => line(name, [s, s])),
    line('sum', sums),
    `| measured | ${measured(steps, ['train 340m', 'medianStepMs'], 1)} | |`,
    `| useful operations (${(useful / 1e12).toFixed(1)} TFLOP), share of the large GEMM | ${share.join(' | ')} |`,
  ].join('\n');
}

/** Decoding is bound by what it reads. */
function decoding(steps) {
  const [batch, heads, keys, dim] = [8, 16, 8192, 64];
  const cache = (2 * 2 * batch * heads * keys * dim) / BANDWIDTH;
  const [layers, width, hidden, vocabulary, length] = [24, 1024, 2816, 32000, 512 + 128];
  const weights = 2 * (layers * (4 * width * width + 3 * width * hidden) + vocabulary * width);
  const token = (prompts) => (weights + prompts * 2 * 2 * layers * width * length) / BANDWIDTH;
  const generated = (prompts) => measured(steps, ['generate 340m', `batch ${prompts}`, 'medianMs']);
  return [
    '| milliseconds | traffic at 3.35 TB/s | measured |',
    '|---|---|---|',
    `| attention of one token, (8, 16, 8192, 64), bf16 | ${ms(cache)} | ${measured(steps, ['decode', 'decode', 'medianMs'])} |`,
    `| a token of \`340m\`, bf16, after 512 to 768 others | ${ms(token(1))} | ${generated(1)} |`,
    `| a token of each of 8 prompts | ${ms(token(8))} | ${generated(8)} |`,
  ].join('\n');
}

/** What fusing more would save of a training step, in milliseconds of traffic. */
function leftToFuse() {
  const row = 8 * 2048 * 1024 * 2;
  const parameters = 374e6;
  const saved = (bytes) => ms(bytes / BANDWIDTH, 2);
  return [
    '| in a step of `340m` | bytes that go | ms | launches that go |',
    '|---|---|---|---|',
    `| done: the norm's gradient reads x and dy once (\`norm.cu\`) | 49 x 2 rows | ${saved(49 * 2 * row)} | 49 |`,
    `| the residual's gradient added by the norm's gradient | 48 x 2 rows | ${saved(48 * 2 * row)} | 48 |`,
    `| gradients of weights leave their product as f32 | 4 a parameter | ${saved(4 * parameters)} | 170 |`,
    `| AdamW writes the bf16 weights | 4 a parameter | ${saved(4 * parameters)} | 170 |`,
    `| q, k and v by one product, forward and backward | 24 x 8 rows | ${saved(24 * 8 * row)}, beside products | 144 |`,
    `| gate and up by one product | 24 x 4 rows | ${saved(24 * 4 * row)}, beside products | 72 |`,
  ].join('\n');
}

function page(bounds, { steps, device }) {
  const both = together(bounds.training, bounds.delta, bounds.backward);
  return `# CUDA: predicted, and measured

Generated by \`node packages/backend-cuda/scripts/roofline.mjs\` from machine code for sm_90a (nvcc 13.0). Measured: ${device}.
\`--measured a.json --measured b.json\`, with the results of calls A and B of \`tools/gpu\`, fills the columns.

## Attention: batch 4, 16 heads, 4096 tokens, head size 64, a bias window of 512, bf16, causal, on an H100 SXM

- Instructions: what \`scripts/issue-slots.mjs\` counts, for every tile of each kind that a warp visits, over the four a cycle of
  each of 132 multiprocessors at 1.755 GHz. It is a bound: nothing waits for memory, for a barrier or for another block, and
  no multiprocessor idles at the end.
- Tensor cores: a product is \`2 B H (L^2 / 2) D\` = ${(product(LAYER) / 1e9).toFixed(1)} GFLOP; forward has 3 (inference) or 4, backward 5. mma.sync at 62 % of
  989 TFLOP/s, which is what others measured of it on Hopper; wgmma at the peak.
- Exponentials: 16 a cycle and multiprocessor; two passes need two per pair. Memory: tensors of B L H D elements read or
  written once, at 3.35 TB/s.
- No tile is inactive here. 16 queries and 16 keys without a positive weight save u, o, g and dv; 32 queries and 64 keys
  whose largest score tells so save the second q . k, too.

${attention(bounds, steps)}

By mma.sync, instructions are the bound of every kernel: fewer of them is what makes these faster. Of the kernels for Hopper,
exponentials bound inference, and instructions training and its backward pass. The bounds are ${ratio(bounds.inference.least, 2)} (forward) and ${ratio(both.least, 7)} (forward and backward) of the
times that FlashAttention-2 is published with. At most 1.6 and 1.4 of its times are asked: our kernels may take ${(1.6 / ratio(bounds.inference.least, 2)).toFixed(1)} and
${(1.4 / ratio(both.least, 7)).toFixed(1)} times their bounds.

Sums of dq in f32: 67,584 steps of 64 queries and 128 keys read and write 32 KiB each, 2.2 GB of the second-level cache. The
longest blocks of keys come last in the backward pass: 6 % of its time is idle, which is in no column.

## A training step of \`340m\`: 8 sequences of 2048 tokens, bf16, on an H100 SXM

Lower bounds, added up: linear layers at 80 % of what a large GEMM reaches (for two assumed rates), attention at the rate that
FlashAttention-2 is published with, everything else at the full bandwidth. Launches (an estimate: 1,700 a step) are hidden behind
the work of the device.

${trainingStep(steps)}

40 % is asked. The linear layers dominate; the own kernels' part is mostly attention. Without cuBLASLt, the own matrix product
(mma.sync) sets the pace of the linear layers, and is then the GEMM to compare with.

What fusing saves, counted (a row is 16,384 x 1,024 elements of bf16, 33.6 MB):

${leftToFuse()}

The tape keeps the bf16 weights of the forward pass for the backward pass, so a weight is converted once a step, not at each
use; with \`--micro-batch\`, once a piece. Products of q, k and v add to dx inside the product already. What they would save beside
that is traffic while tensor cores are the bound (a product takes 57 us at 600 TFLOP/s, its traffic 20 to 30), so no time on
paper; but weights would have to lie beside each other, and attention to read rows of q, k and v that are 3 C apart. The norm's
sum with the residual's gradient asks one more input of an op in every backend (or an option that backends may leave to \`add\`).

## Decoding

${decoding(steps)}
`;
}

/** A bound over FlashAttention-2's published time. */
const ratio = (least, products) => (least / ((products * product(LAYER)) / FLASH)).toFixed(2);

/** Steps of all results, and a line that says where they come from. */
function results(files) {
  const all = files.map((file) => JSON.parse(readFileSync(file, 'utf8')));
  if (all.some(({ rehearsal }) => rehearsal)) throw new Error('a rehearsal measures nothing');
  const steps = Object.assign({}, ...all.map((result) => result.steps));
  if (all.length === 0) return { steps, device: 'nothing yet, no GPU was at hand' };
  return { steps, device: `${steps.machine?.gpu ?? 'a GPU whose name is not known'}, ${all[0].started}` };
}

const { values } = parseArgs({ options: { measured: { type: 'string', multiple: true, default: [] } } });
const tools = findTools();
if (tools.missing !== undefined) {
  console.error(`roofline: ${tools.missing}`);
  process.exit(2);
}
const forward = disassemble(tools, 'attention_forward');
const slots = [
  ...issueSlots(forward),
  ...gradIssueSlots(disassemble(tools, 'attention_grad')),
  ...hopperIssueSlots(disassemble(tools, 'attention_hopper')),
  ...hopperGradIssueSlots(disassemble(tools, 'attention_grad_hopper')),
];
writeFileSync(OUTPUT, page(predict(slots, restOfTiles(forward)), results(values.measured)));
console.log(`wrote ${OUTPUT}`);
