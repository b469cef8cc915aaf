// What runs on the GPU machine, in order: first what is worth most, for time may run out.
//
// name: of the step. limit: seconds. task: of tasks.mjs, with its argument; peers: arguments of peers.py; tool: a
// compute-sanitizer tool under which the task runs.
const LAYER = { B: 4, H: 16, L: 4096, D: 64, W: 512 };
const WIDE = { ...LAYER, D: 128 };
const LONG = { ...LAYER, B: 1, L: 16384 };
/** Cases that a sanitizer gets through in a minute or two; every family of kernels. */
const WATCHED = [
  '^(attention|attentionGrad) (bf16 head_(64|128|256)_plain|f32 exact_head_64)',
  '(bf16|f32) (left_padding|decode_)',
  '^(matmul|rmsNorm|crossEntropy|embedding)(Grad)? (bf16|f32) random_shapes',
].join('|');

const tools = ['memcheck', 'racecheck', 'synccheck', 'initcheck'];
const shape = ({ B, H, L, D }) => [B, H, L, D].join('x');

export const STEPS = [
  { name: 'machine', limit: 30 },
  { name: 'binary', limit: 300 },
  { name: 'conformance small', limit: 90, task: 'conformance', argument: { size: 'small' } },
  { name: 'attention 64', limit: 60, task: 'attention', argument: LAYER },
  { name: 'peers 64', limit: 120, peers: [shape(LAYER)] },
  {
    name: 'train 340m',
    limit: 120,
    task: 'train',
    argument: { preset: '340m', batch: 8, length: 2048, dtype: 'bf16' },
  },
  { name: 'conformance', limit: 150, task: 'conformance', argument: { size: 'full' } },
  { name: 'pico', limit: 60, task: 'pico', argument: { steps: 50 } },
  { name: 'attention 128', limit: 60, task: 'attention', argument: WIDE },
  { name: 'products', limit: 30, task: 'products', argument: { size: 8192 } },
  ...tools.map((tool) => ({
    name: tool,
    limit: 90,
    tool,
    task: 'conformance',
    argument: { size: 'small', only: WATCHED },
  })),
  { name: 'attention long', limit: 60, task: 'attention', argument: LONG },
  { name: 'peers 128', limit: 90, peers: [shape(WIDE)] },
  { name: 'peers long', limit: 90, peers: [shape(LONG)] },
  { name: 'webgpu', limit: 90, task: 'webgpu', argument: { B: 1, H: 16, L: 2048, D: 64, W: 512 } },
  { name: 'source build', limit: 240 },
];

/** The same steps on the emulated device, in seconds: finds out whether this kit would run, and measures nothing. */
export function rehearsal(step) {
  const tiny = { B: 1, H: 1, L: 32, D: 64, W: 16 };
  if (step.peers) return { ...step, peers: ['1x2x64x16', '--rehearse'] };
  switch (step.task) {
    case 'attention':
    case 'webgpu':
      return { ...step, argument: { ...tiny, D: step.argument.D, repeats: 1, count: 1 } };
    case 'train':
      return { ...step, argument: { ...step.argument, preset: 'pico', batch: 1, length: 16, steps: 1 } };
    case 'pico':
      return { ...step, argument: { steps: 2 } };
    case 'products':
      return { ...step, argument: { size: 32, repeats: 1, count: 1 } };
    case 'conformance':
      return { ...step, argument: { size: 'small', only: '^attention(Grad)? (bf16|f32) left_padding' } };
    default:
      return step;
  }
}
