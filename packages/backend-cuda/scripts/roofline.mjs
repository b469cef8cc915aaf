// Predicted times, from counts of products and bytes and from rates that others published. Nothing here was measured.

// H100 SXM, datasheet: dense bf16, HBM3. Exponentials: 16 a cycle and multiprocessor.
const PEAK = 989e12;
const BANDWIDTH = 3.35e12;
const MULTIPROCESSORS = 132;
const EXPONENTIALS = MULTIPROCESSORS * 16 * 1.755e9;
// What FlashAttention-2, which uses mma.sync as these kernels do, is published with at the layer's shape.
const ATTAINED = 284e12;

const ms = (seconds) => (seconds * 1e3).toFixed(3);

/** The shape of the authors' chart. */
const LAYER = { B: 4, H: 16, L: 4096, D: 64 };
/** One product of a causal layer, in operations. */
const product = ({ B, H, L, D }) => 2 * B * H * ((L * L) / 2) * D;

/** Keys per block and queries per step of attention_grad.cu, head size 64. */
const [KEYS, STEP] = [128, 64];

/** Steps of the backward kernel: for each block of keys, the steps of queries from its diagonal on. */
function steps({ B, H, L }) {
  let perHead = 0;
  for (let key = 0; key < L; key += KEYS) perHead += (L - key) / STEP;
  return B * H * perHead;
}

/** Share of the backward kernel's time that multiprocessors idle at its end, where the longest blocks of keys run. */
const tail = (layer) => layer.L / STEP / 2 / (steps(layer) / MULTIPROCESSORS);

function roofline(layer) {
  const { B, H, L, D } = layer;
  const pairs = (B * H * L * L) / 2;
  const tensor = B * H * L * D * 2;
  const row = (name, products, exponentials, tensors, late = 0) => {
    const memory = (tensors * tensor) / BANDWIDTH;
    const cells = [
      products,
      ms((products * product(layer)) / PEAK),
      ms((exponentials * pairs) / EXPONENTIALS),
      ms(memory),
      ms(Math.max((products * product(layer)) / ATTAINED, memory) + late),
    ];
    return `| ${name} | ${cells.join(' | ')} |`;
  };
  const late = (tail(layer) * 5 * product(layer)) / ATTAINED;
  const delta = (3 * tensor) / BANDWIDTH;
  return [
    '| kernels | products | tensor cores at peak | exponentials | memory | prediction |',
    '|---|---|---|---|---|---|',
    row('FlashAttention-2, softmax forward (published rate, for scale)', 2, 1, 4),
    row('forward, inference', 3, 2, 4),
    row('forward, training', 4, 2, 6),
    row('delta', 0, 0, 3),
    // q, k, v, dO read; dq, dk, dv written; the f32 sums of dq leave L2 once.
    row('dq, dk, dv and dbias', 5, 1, 9, late),
    row('backward', 5, 1, 12, late + delta),
    row('forward + backward', 9, 3, 18, late + delta),
  ].join('\n');
}

/** A training step of the preset 340m as `tools/gpu` times it: what each kind of work takes at least. */
function trainingStep() {
  const [batch, length, width, hidden, vocabulary, layers, heads] = [8, 2048, 1024, 2816, 32000, 24, 16];
  const tokens = batch * length;
  const weights = layers * (4 * width * width + 3 * width * hidden) + vocabulary * width;
  const parameters = weights + vocabulary * width;
  const useful = tokens * (6 * weights + 3 * layers * 4 * width * ((length + 1) / 2));
  const row = tokens * width * 2; // bytes of an activation
  const ratio = hidden / width;
  // Tensors of that size, read or written. Forward: two norms, RoPE on q and k, SwiGLU. Backward: a norm reads x and dy
  // twice and writes dx, then the residual's gradient is added; RoPE; SwiGLU.
  const elementwise = 2 * 2 + 4 + 3 * ratio + 2 * (5 + 3) + 4 + 5 * ratio;
  const attention = 9 * product({ B: batch, H: heads, L: length, D: width / heads });
  const own = [
    ['attention, 9 products', (layers * attention) / ATTAINED],
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
    `| useful operations (${(useful / 1e12).toFixed(1)} TFLOP), share of the large GEMM | ${share.join(' | ')} |`,
  ].join('\n');
}

/** The part of docs/benchmarks/cuda-resources.md that predicts times. */
export function predictions() {
  const unit = product(LAYER);
  const sumBytes = 2 * STEP * LAYER.D * 4;
  const seconds = (5 * unit) / ATTAINED;
  const late = tail(LAYER);
  const delta = (3 * LAYER.B * LAYER.H * LAYER.L * LAYER.D * 2) / BANDWIDTH;
  const ratio = ((9 + 5 * late) * (unit / ATTAINED) + delta) / ((7 * unit) / ATTAINED);
  return `## Roofline: batch 4, 16 heads, 4096 tokens, head size 64, bf16, causal, on an H100 SXM, in milliseconds

- One product is \`2 B H (L^2 / 2) D\` = ${(unit / 1e9).toFixed(1)} GFLOP. Peak: 989 TFLOP/s (datasheet, dense). mma.sync, which these kernels use,
  does not reach that on Hopper (wgmma does); the *prediction* takes the 284 TFLOP/s that FlashAttention-2, which uses
  mma.sync too, is published with for this shape. It assumes that exponentials overlap with products as well as there.
- Exponentials: 16 a cycle and multiprocessor, 132 of them at 1.755 GHz; two passes need two per pair.
- Memory: tensors of B L H D elements read or written once (u and a are the two that training adds), at 3.35 TB/s.
- dq is summed in f32 by the blocks of keys, one after another: ${steps(LAYER).toLocaleString('en')} steps read and write ${sumBytes / 1024} KiB each, ${((steps(LAYER) * sumBytes) / 1e9).toFixed(1)} GB in
  the ${ms(seconds)} ms of five products, ${((steps(LAYER) * sumBytes) / seconds / 1e12).toFixed(1)} TB/s of the second-level cache, which holds all sums that are in use (the heads that
  run at one time: ${(MULTIPROCESSORS / (LAYER.L / KEYS)).toFixed(0)}, of 1 MiB each).
- The prediction for that kernel contains its tail: the longest blocks of keys run last, and ${(100 * late).toFixed(0)} % of the time is idle. It contains
  no waiting for turns (each block starts behind the one it waits for) and not the exchange of ds through shared memory.

${roofline(LAYER)}

Against FlashAttention-2's 2 products forward and 7 in training, that predicts 1.5 times its forward (inference) and
${ratio.toFixed(2)} times its forward and backward, if the kernels reach the same share of the peak. Two kernels that repeat s and g, without sums of
dq (what attention_grad_wide.cu does), would need ${(11 / 7).toFixed(2)} times. Inactive tiles are not in this: 16 queries and 16 keys without a positive
weight save u, o, g and dv; 32 queries (16 from head size 128) and 64 keys whose largest score tells so save the second q . k, too.

## A training step of \`340m\`: 8 sequences of 2048 tokens, bf16, on an H100 SXM

Lower bounds, added up: linear layers at 80 % of what a large GEMM reaches (for two assumed rates), attention at the rate above,
everything else at the full bandwidth. Launches (an estimate: 1,800 a step) are hidden behind the work of the device.

${trainingStep()}

40 % is asked. The linear layers dominate; the own kernels' part is mostly attention. Nothing else comes near: fusing the norms'
second reading and the residual's addition would save ${((24 * 2 * 5 * 8 * 2048 * 1024 * 2) / BANDWIDTH / 1e-3).toFixed(1)} ms, keeping bf16 copies of the weights ${((4 * 374e6) / BANDWIDTH / 1e-3).toFixed(1)} ms. Without cuBLASLt, the own
matrix product (mma.sync) sets the pace of the linear layers, and is then the GEMM to compare with.
`;
}
