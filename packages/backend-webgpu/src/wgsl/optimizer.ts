import { ELEMENTWISE_THREADS, index } from './elementwise.ts';
import { kernel, read, write } from './kernel.ts';

/** min(1, ratio) that keeps NaN: bits from 1 to +Infinity become 1. */
const CLIP = `
  let ratio = params.maxNorm / (sqrt(normSquared[0]) + 1e-6);
  let g = grads[i] * select(ratio, 1.0, bitcast<u32>(ratio) - 0x3f800000u <= 0x40000000u);`;

/**
 * One step of AdamW, see Kernels.adamw. With `clip` the gradient is scaled by min(1, maxNorm / (norm + 1e-6)); without it
 * normSquared is not read.
 */
export const adamw = kernel({
  name: 'adamw',
  params: {
    vectors: 'u32',
    beta1: 'f32',
    beta2: 'f32',
    oneMinusBeta1: 'f32',
    oneMinusBeta2: 'f32',
    decay: 'f32',
    stepSize: 'f32',
    inverseCorrection2: 'f32',
    epsilon: 'f32',
    maxNorm: 'f32',
  },
  text: ({ clip }: { readonly clip: boolean }) => ({
    buffers: {
      weights: write('vec4<f32>'),
      grads: read('vec4<f32>'),
      firsts: write('vec4<f32>'),
      seconds: write('vec4<f32>'),
      normSquared: read('f32'),
    },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('vectors')}
      ${clip ? CLIP : 'let g = grads[i];'}
      let m = params.beta1 * firsts[i] + params.oneMinusBeta1 * g;
      let v = params.beta2 * seconds[i] + params.oneMinusBeta2 * g * g;
      firsts[i] = m;
      seconds[i] = v;
      let weight = weights[i];
      let step = params.stepSize * m / (sqrt(v * params.inverseCorrection2) + params.epsilon);
      weights[i] = weight - params.decay * weight - step;`,
  }),
});
