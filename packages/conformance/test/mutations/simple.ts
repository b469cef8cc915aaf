import { type AdamWProblem, type AdamWUpdate, type KernelTensor, roundTo, type TensorData } from '@lazy-attention/core';
import { changed, type Mutation, type ReferenceKernels } from './mutation.ts';

type Wrong = Mutation['wrong'];

/** Mistakes in everything but attention, by kernel. */
const MISTAKES: Partial<Record<keyof ReferenceKernels, Record<string, Wrong>>> = {
  upload: {
    'keeps the array of the host': () => ({ upload: (data) => data }),
    'does not round to the type': () => ({ upload: (data) => data.slice() }),
  },
  full: {
    'fills with zero': (right) => ({ full: (shape, _value, dtype) => right.full(shape, 0, dtype) }),
    'does not round to the type': () => ({
      full: (shape, value) => new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(value),
    }),
  },
  read: {
    'hands out its own memory': () => ({ read: async (x) => x.buffer }),
    'reads too late': () => ({
      read: async (x) => {
        await Promise.resolve();
        return x.buffer.slice();
      },
    }),
  },
  cast: {
    'cuts digits off instead of rounding': () => ({
      cast: (x, dtype) =>
        changed(x.buffer, (value) => (dtype === 'bf16' ? roundTo('bf16', value * (1 - 2 ** -9)) : value)),
    }),
    'saturates instead of overflowing to infinity': (right) => ({
      cast: (x, dtype) => changed(right.cast(x, dtype), (value) => Math.max(-65504, Math.min(65504, value))),
    }),
    'rounds ties away from zero': (right) => ({
      cast: (x, dtype) => right.cast({ ...x, buffer: changed(x.buffer, (value) => value * (1 + 2 ** -20)) }, dtype),
    }),
  },
  slice: {
    'ignores start': (right) => ({ slice: (x, view) => right.slice(x, { ...view, start: 0 }) }),
    'takes only the first outer entry': (right) => ({
      slice: (x, view) => changed(right.slice(x, view), (value, i) => (i < view.count * view.inner ? value : 0)),
    }),
  },
  copyInto: {
    'ignores start': (right) => ({
      copyInto: (target, source, view) => right.copyInto(target, source, { ...view, start: 0 }),
    }),
    'does nothing': () => ({ copyInto: () => {} }),
  },
  scale: {
    'has the wrong sign': (right) => ({ scale: (x, factor) => right.scale(x, -factor) }),
    'is off by a thousandth': (right) => ({ scale: (x, factor) => right.scale(x, factor * 1.001) }),
  },
  sumSquares: {
    'sees the first tensor only': (right) => ({ sumSquares: (tensors) => right.sumSquares(tensors.slice(0, 1)) }),
    'takes the root': (right) => ({ sumSquares: (tensors) => changed(right.sumSquares(tensors), Math.sqrt) }),
  },
  matmul: {
    'ignores transposeA': (right) => ({
      matmul: (a, b, problem, sum) => right.matmul(a, b, { ...problem, transposeA: false }, sum),
    }),
    'ignores transposeB': (right) => ({
      matmul: (a, b, problem, sum) => right.matmul(a, b, { ...problem, transposeB: false }, sum),
    }),
    'ignores accumulate': (right) => ({
      matmul: (a, b, problem, sum) => {
        const product = right.matmul(a, b, problem, null);
        sum?.buffer.set(product);
        return sum?.buffer ?? product;
      },
    }),
    'uses the first matrix of b for all': (right) => ({
      matmul: (a, b, problem, sum) => {
        const one = problem.k * problem.n;
        return right.matmul(a, { ...b, buffer: changed(b.buffer, (_, i) => b.buffer[i % one]) }, problem, sum);
      },
    }),
    'loses what is beyond 64 rows': (right) => ({
      matmul: (a, b, problem, sum) => {
        const { m, n } = problem;
        const product = right.matmul(a, b, problem, sum);
        return changed(product, (value, i) => (Math.floor(i / n) % m >= 64 ? 0 : value));
      },
    }),
    'sums in bfloat16': (right) => ({
      matmul: (a, b, problem, sum) => changed(right.matmul(a, b, problem, sum), (value) => roundTo('bf16', value)),
    }),
  },
  rmsNorm: {
    'ignores epsilon': (right) => ({ rmsNorm: (x, weight) => right.rmsNorm(x, weight, 1e-30) }),
    'ignores the weight': (right) => ({
      rmsNorm: (x, weight, epsilon) =>
        right.rmsNorm(x, { ...weight, buffer: changed(weight.buffer, () => 1) }, epsilon),
    }),
  },
  rmsNormGrad: {
    'ignores epsilon': (right) => ({ rmsNormGrad: (dy, x, weight) => right.rmsNormGrad(dy, x, weight, 1e-30) }),
    'misses that the norm depends on x': (right) => ({
      rmsNormGrad: (dy, x, weight, epsilon) => {
        const { dweight } = right.rmsNormGrad(dy, x, weight, epsilon);
        return { dx: right.rmsNorm(dy, weight, epsilon), dweight };
      },
    }),
    'takes dweight of the last row only': (right) => ({
      rmsNormGrad: (dy, x, weight, epsilon) => {
        const [rows, width] = x.shape;
        const last = changed(dy.buffer, (value, i) => (i >= (rows - 1) * width ? value : 0));
        const { dx } = right.rmsNormGrad(dy, x, weight, epsilon);
        return { dx, dweight: right.rmsNormGrad({ ...dy, buffer: last }, x, weight, epsilon).dweight };
      },
    }),
  },
  rope: {
    'ignores the offset': (right) => ({ rope: (x, rotation) => right.rope(x, { ...rotation, offset: 0 }) }),
    'ignores the base': (right) => ({ rope: (x, rotation) => right.rope(x, { ...rotation, base: 10000 }) }),
    'ignores inverse': (right) => ({ rope: (x, rotation) => right.rope(x, { ...rotation, inverse: false }) }),
    'has angles in single precision': (right) => ({ rope: ropeInSinglePrecision(right) }),
    'turns neighbours instead of halves': (right) => ({
      rope: (x, rotation) => {
        const dim = x.shape[3];
        const half = dim / 2;
        const toHalves = (i: number) => i - (i % dim) + (i % half) * 2 + (i % dim < half ? 0 : 1);
        const toNeighbours = (i: number) => i - (i % dim) + Math.floor((i % dim) / 2) + (i % 2 === 0 ? 0 : half);
        const split = changed(x.buffer, (_, i) => x.buffer[toHalves(i)]);
        const turned = right.rope({ ...x, buffer: split }, rotation);
        return changed(turned, (_, i) => turned[toNeighbours(i)]);
      },
    }),
  },
  attentionGrad: {
    'gives no dtau': (right) => ({
      attentionGrad: (...args) => ({ ...right.attentionGrad(...args), dtau: null }),
    }),
    'gives no dbias': (right) => ({
      attentionGrad: (...args) => ({ ...right.attentionGrad(...args), dbias: null }),
    }),
  },
  elasticSoftmax: {
    'ignores tau': (right) => ({ elasticSoftmax: (inputs) => right.elasticSoftmax({ ...inputs, tau: null }) }),
    'ignores starts': (right) => ({ elasticSoftmax: (inputs) => right.elasticSoftmax({ ...inputs, starts: null }) }),
    'uses tau of head 0': (right) => ({
      elasticSoftmax: (inputs) => right.elasticSoftmax({ ...inputs, tau: tauOfHead0(inputs.tau) }),
    }),
    'adds positive tau to keys that are not attended': (right) => ({
      elasticSoftmax: (inputs) => {
        const most = Math.max(0, ...(inputs.tau?.buffer ?? []));
        return changed(right.elasticSoftmax(inputs), (w) => (w === 0 && most > 0 ? 0.01 * most : w));
      },
    }),
    'lets scores overflow': (right) => ({
      elasticSoftmax: (inputs) =>
        changed(right.elasticSoftmax(inputs), (w, i) => (inputs.scores.buffer[i] > 88 ? Number.NaN : w)),
    }),
  },
  elasticSoftmaxGrad: {
    'ignores tau': (right) => ({
      elasticSoftmaxGrad: (dw, inputs) => ({
        ...right.elasticSoftmaxGrad(dw, inputs),
        dscores: right.elasticSoftmaxGrad(dw, { ...inputs, tau: null }).dscores,
      }),
    }),
    'ignores starts': (right) => ({
      elasticSoftmaxGrad: (dw, inputs) => right.elasticSoftmaxGrad(dw, { ...inputs, starts: null }),
    }),
    'swaps the heads of dtau': (right) => ({
      elasticSoftmaxGrad: (dw, inputs) => {
        const { dscores, dtau } = right.elasticSoftmaxGrad(dw, inputs);
        return { dscores, dtau: dtau?.slice().reverse() ?? null };
      },
    }),
    'gives no dtau': (right) => ({
      elasticSoftmaxGrad: (dw, inputs) => ({ ...right.elasticSoftmaxGrad(dw, inputs), dtau: null }),
    }),
    'drops inactive pairs': (right) => ({
      elasticSoftmaxGrad: (dw, inputs) => {
        const weights = right.elasticSoftmax(inputs);
        const { dscores, dtau } = right.elasticSoftmaxGrad(dw, inputs);
        return { dscores: changed(dscores, (ds, i) => (weights[i] === 0 ? 0 : ds)), dtau };
      },
    }),
    'leaves something where no key is attended': (right) => ({
      elasticSoftmaxGrad: (dw, inputs) => {
        const { dscores, dtau } = right.elasticSoftmaxGrad(dw, inputs);
        return { dscores: changed(dscores, (ds, i) => (ds === 0 ? dw.buffer[i] : ds)), dtau };
      },
    }),
  },
  swiglu: {
    'swaps gate and up': (right) => ({ swiglu: (gate, up) => right.swiglu(up, gate) }),
  },
  swigluGrad: {
    'swaps the gradients': (right) => ({
      swigluGrad: (dy, gate, up) => {
        const { dgate, dup } = right.swigluGrad(dy, gate, up);
        return { dgate: dup, dup: dgate };
      },
    }),
    'overflows at large gates': (right) => ({
      swigluGrad: (dy, gate, up) => {
        const { dgate, dup } = right.swigluGrad(dy, gate, up);
        return { dgate: changed(dgate, (value, i) => (gate.buffer[i] < -88 ? Number.NaN : value)), dup };
      },
    }),
  },
  embedding: {
    'is one row off': (right) => ({
      embedding: (weight, ids) =>
        right.embedding(weight, { ...ids, buffer: changed(ids.buffer, (id) => (id + 1) % weight.shape[0]) }),
    }),
  },
  embeddingGrad: {
    'lets the last of equal ids win': (right) => ({
      embeddingGrad: (dy, ids, vocabulary) => {
        const width = dy.shape[dy.shape.length - 1];
        const isLast = (row: number) => ids.buffer.lastIndexOf(ids.buffer[row]) === row;
        const buffer = changed(dy.buffer, (value, i) => (isLast(Math.floor(i / width)) ? value : 0));
        return right.embeddingGrad({ ...dy, buffer }, ids, vocabulary);
      },
    }),
  },
  crossEntropy: {
    'divides by all rows': (right) => ({
      crossEntropy: (logits, targets, options) =>
        right.crossEntropy(logits, targets, { ...options, count: logits.shape[0] }),
    }),
    'does not take the maximum out': (right) => ({
      crossEntropy: (logits, targets, options) => {
        const { loss, lse } = right.crossEntropy(logits, targets, options);
        // exp overflows a float32 beyond 88.
        return { loss, lse: changed(lse, (value) => (value > 88 ? Number.POSITIVE_INFINITY : value)) };
      },
    }),
    'counts ignored rows': (right) => ({
      crossEntropy: (logits, targets, options) => {
        const buffer = changed(targets.buffer, (id) => (id === options.ignoreIndex ? 0 : id));
        const none = { ...options, ignoreIndex: -1 };
        return right.crossEntropy(logits, { ...targets, buffer }, none);
      },
    }),
  },
  crossEntropyGrad: {
    'forgets dLoss': (right) => ({
      crossEntropyGrad: (dLoss, ...rest) => right.crossEntropyGrad({ ...dLoss, buffer: Float32Array.of(1) }, ...rest),
    }),
    'divides by all rows': (right) => ({
      crossEntropyGrad: (dLoss, logits, targets, lse, options) =>
        right.crossEntropyGrad(dLoss, logits, targets, lse, { ...options, count: logits.shape[0] }),
    }),
    'leaves something in ignored rows': (right) => ({
      crossEntropyGrad: (dLoss, logits, targets, lse, options) => {
        const width = logits.shape[1];
        const gradient = right.crossEntropyGrad(dLoss, logits, targets, lse, options);
        return changed(gradient, (value, i) =>
          targets.buffer[Math.floor(i / width)] === options.ignoreIndex ? 0.1 : value,
        );
      },
    }),
  },
  adamw: {
    'couples the decay with the gradient': (right) => ({
      adamw: (updates, problem) =>
        right.adamw(
          updates.map((update) => {
            const decayed = changed(update.grad.buffer, (g, i) => g + update.weightDecay * update.param.buffer[i]);
            return { ...update, weightDecay: 0, grad: { ...update.grad, buffer: decayed } };
          }),
          problem,
        ),
    }),
    'ignores the decay': (right) => ({
      adamw: (updates, problem) =>
        right.adamw(
          updates.map((update) => ({ ...update, weightDecay: 0 })),
          problem,
        ),
    }),
    'ignores the clip': (right) => altered(right, () => ({ clip: null })),
    'clips norms that are small enough': (right) =>
      altered(right, ({ clip }) => ({
        clip: clip && { maxNorm: clip.maxNorm, normSquared: { ...clip.normSquared, buffer: Float32Array.of(1e12) } },
      })),
    'has no bias correction': (right) => altered(right, () => ({ correction1: 1, correction2: 1 })),
    'swaps the betas': (right) => altered(right, ({ beta1, beta2 }) => ({ beta1: beta2, beta2: beta1 })),
    'ignores epsilon': (right) => altered(right, () => ({ epsilon: 0 })),
    'forgets to store v': (right) => ({
      adamw: (updates, problem) => right.adamw(updates.map(withCopyOfV), problem),
    }),
    'updates the first parameter only': (right) => ({
      adamw: (updates, problem) => right.adamw(updates.slice(0, 1), problem),
    }),
  },
};

function altered(
  right: ReferenceKernels,
  change: (problem: AdamWProblem<TensorData>) => Partial<AdamWProblem<TensorData>>,
): Partial<ReferenceKernels> {
  return { adamw: (updates, problem) => right.adamw(updates, { ...problem, ...change(problem) }) };
}

function withCopyOfV(update: AdamWUpdate<TensorData>): AdamWUpdate<TensorData> {
  return { ...update, v: { ...update.v, buffer: update.v.buffer.slice() } };
}

function tauOfHead0(tau: KernelTensor<TensorData> | null): KernelTensor<TensorData> | null {
  return tau && { ...tau, buffer: changed(tau.buffer, () => tau.buffer[0]) };
}

/** As if position and frequency were multiplied in bfloat16-like precision: good near 0, wrong at a million. */
function ropeInSinglePrecision(right: ReferenceKernels): ReferenceKernels['rope'] {
  return (x, rotation) => {
    const rounded = Math.round(rotation.offset / 2 ** 10) * 2 ** 10;
    return right.rope(x, rotation.offset > 2 ** 16 ? { ...rotation, offset: rounded } : rotation);
  };
}

export const simpleMutations: readonly Mutation[] = Object.entries(MISTAKES).flatMap(([kernel, mistakes]) =>
  Object.entries(mistakes).map(([name, wrong]) => ({ kernel: kernel as keyof ReferenceKernels, name, wrong })),
);
