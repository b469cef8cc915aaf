import {
  type AttentionInputs,
  type DType,
  type ElasticSoftmaxInputs,
  type Kernels,
  learned,
  learnedGrads,
  perHead,
  type SavedState,
  type TensorData,
} from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import * as arithmetic from './arithmetic.ts';
import { type AttentionTensors, attentionBackward, attentionForward, attentionWeights } from './attention.ts';
import { elasticWeights, givenScores, softmaxGradient } from './elastic.ts';
import { type Engine, onEngine } from './engine.ts';
import { type Handle, isHandle } from './handle.ts';
import * as layerOps from './layer-ops.ts';
import { checkSize, createMemory, four, type Memory, matrix, tfjsType, vector, view } from './memory.ts';
import * as primitives from './primitives.ts';
import { createRotations } from './rotations.ts';

/** Attention recomputes its probabilities, so nothing is kept. */
const NOTHING_SAVED: SavedState = { bytes: 0 };

type Rotations = ReturnType<typeof createRotations>;
type Family<K extends keyof Kernels> = Pick<Kernels<Handle>, K>;

/** The whole contract on one tfjs engine. */
export function createKernels(engine: Engine): Kernels<Handle> {
  const memory = createMemory(engine);
  const rotations = createRotations();
  return {
    name: 'tfjs',
    device: engine.device,
    dtypes: new Set<DType>(['f32', 'i32']),
    ...storageKernels(memory, rotations),
    ...primitiveKernels(memory),
    ...arithmeticKernels(memory),
    ...layerKernels(memory, rotations),
    ...attentionKernels(memory),
    ...lossKernels(memory),
  };
}

/** Tensors made, read, moved and freed. */
function storageKernels(
  memory: Memory,
  rotations: Rotations,
): Family<
  | 'upload'
  | 'full'
  | 'read'
  | 'free'
  | 'inspect'
  | 'freeSaved'
  | 'synchronize'
  | 'dispose'
  | 'cast'
  | 'slice'
  | 'copyInto'
> {
  const { engine, inside, run, replace } = memory;
  return {
    upload: (data, shape, dtype) => {
      checkSize(shape);
      // All engines but wasm keep a reference to the array until they need it; the caller may change it before.
      return run(() => tf.tensor(data.slice() as Float32Array | Int32Array, [...shape], tfjsType(dtype)));
    },
    full: (shape, value, dtype) => {
      checkSize(shape);
      return run(() => tf.fill([...shape], value, tfjsType(dtype)));
    },
    read: async (x) => {
      // A reference of its own, since engines look the tensor up again when its values arrive.
      const tensor = tf.keep(inside(() => tf.reshape(x.buffer.tensor, x.buffer.tensor.shape)));
      try {
        // The cpu engine hands out its own array.
        return (await tensor.data()).slice() as TensorData;
      } finally {
        tensor.dispose();
      }
    },
    free: memory.free,
    inspect: (buffer) => {
      if (!isHandle(buffer)) return null;
      const { size, dtype } = buffer.tensor;
      return dtype === 'float32' || dtype === 'int32'
        ? { count: size, dtype: dtype === 'int32' ? 'i32' : 'f32' }
        : null;
    },
    freeSaved: () => {},
    synchronize: async () => {
      // Work runs in order: what is queued last is done last.
      const marker = onEngine(engine, () => tf.tidy(() => tf.add(tf.scalar(0), tf.scalar(0))));
      await marker.data();
      marker.dispose();
    },
    dispose: async () => {
      memory.freeAll();
      rotations.dispose();
    },

    cast: (x) => run(() => tf.reshape(view(x), [...x.shape])),
    slice: (x, window) => run(() => arithmetic.slice(view(x), window)),
    copyInto: (target, source, window) =>
      replace(
        target.buffer,
        inside(() => arithmetic.replaced(view(target), view(source), window)),
      ),
  };
}

/** The open primitives. */
function primitiveKernels(memory: Memory): Family<'unary' | 'binary' | 'reduce' | 'rearrange'> {
  const { run } = memory;
  return {
    unary: (x, fn) => run(() => primitives.unary(view(x), fn)),
    binary: (a, b, fn, window) => run(() => primitives.binary(view(a), view(b), fn, window)),
    reduce: (x, fn, window) => run(() => primitives.reduce(view(x), fn, window)),
    rearrange: (x, window) => run(() => primitives.rearrange(view(x), window)),
  };
}

/** Products, and the norm. */
function arithmeticKernels(memory: Memory): Family<'scale' | 'sumSquares' | 'matmul'> {
  const { inside, run, replace } = memory;
  const { products } = memory.engine;
  return {
    scale: (x, factor) => run(() => tf.mul(view(x), factor)),
    sumSquares: (tensors) => run(() => arithmetic.sumSquares(tensors.map(view))),

    matmul: (a, b, problem, accumulate) => {
      const product = () => arithmetic.matmul(products, view(a), view(b), problem);
      if (accumulate === null) return run(product);
      const { tensor } = accumulate.buffer;
      replace(
        accumulate.buffer,
        inside(() => tf.add(tensor, tf.reshape(product(), tensor.shape))),
      );
      return accumulate.buffer;
    },
  };
}

/** What layers compute beside attention. */
function layerKernels(
  memory: Memory,
  rotations: Rotations,
): Family<'rmsNorm' | 'rmsNormGrad' | 'rope' | 'swiglu' | 'swigluGrad' | 'embedding' | 'embeddingGrad'> {
  const { engine, hold, inside, run } = memory;
  const { products } = engine;
  return {
    rmsNorm: (x, weight, epsilon) => run(() => layerOps.rmsNorm(matrix(x), view(weight), epsilon)),
    rmsNormGrad: (dy, x, weight, epsilon) => {
      const { dx, dweight } = inside(() =>
        layerOps.rmsNormGrad(products, matrix(dy), matrix(x), view(weight), epsilon),
      );
      return { dx: hold(dx), dweight: hold(dweight) };
    },
    rope: (x, rotation) => run(() => layerOps.rotate(four(x), rotations.tables(x.shape[1], x.shape[3], rotation))),

    swiglu: (gate, up) => run(() => layerOps.swiglu(view(gate), view(up))),
    swigluGrad: (dy, gate, up) => {
      const { dgate, dup } = inside(() => layerOps.swigluGrad(view(dy), view(gate), view(up)));
      return { dgate: hold(dgate), dup: hold(dup) };
    },

    embedding: (weight, ids) => run(() => layerOps.embedding(matrix(weight), view(ids))),
    embeddingGrad: (dy, ids, vocabulary) => run(() => layerOps.embeddingGrad(engine, view(dy), view(ids), vocabulary)),
  };
}

/** Attention, and Elastic-Softmax by itself. */
function attentionKernels(
  memory: Memory,
): Family<'attention' | 'attentionGrad' | 'attentionWeights' | 'elasticSoftmax' | 'elasticSoftmaxGrad'> {
  const { hold, inside, run } = memory;
  const { products } = memory.engine;
  return {
    attention: (inputs, save) => ({
      output: run(() => attentionForward(products, attentionTensors(inputs))),
      saved: save ? NOTHING_SAVED : null,
    }),
    attentionGrad: (dOutput, inputs) => {
      const { dq, dk, dv, sums } = inside(() => {
        const { dq, dk, dv, ...grads } = attentionBackward(products, four(dOutput), attentionTensors(inputs));
        return { dq, dk, dv, sums: learned((name) => grads[`d${name}`] ?? undefined) };
      });
      return {
        dq: hold(dq),
        dk: hold(dk),
        dv: hold(dv),
        ...learnedGrads((name) => {
          const sum = sums[name];
          return sum === undefined ? null : hold(sum);
        }),
      };
    },
    attentionWeights: (inputs) => run(() => attentionWeights(products, attentionTensors({ ...inputs, v: inputs.k }))),

    elasticSoftmax: (inputs) => run(() => elasticWeights(elasticRows(inputs)).weights),
    elasticSoftmaxGrad: (dWeights, inputs) => {
      const { ds, dtau } = inside(() => {
        const { ds, parts } = softmaxGradient(elasticRows(inputs), four(dWeights));
        return { ds, dtau: parts.tau === null ? undefined : tf.sum(parts.tau, [0, 2, 3]) };
      });
      return { dscores: hold(ds), dtau: dtau === undefined ? null : hold(dtau) };
    },
  };
}

/** The loss, and the step that follows from its gradients. */
function lossKernels(memory: Memory): Family<'crossEntropy' | 'crossEntropyGrad' | 'adamw'> {
  const { hold, inside, run, replace } = memory;
  return {
    crossEntropy: (logits, targets, options) => {
      const { loss, lse } = inside(() => layerOps.crossEntropy(matrix(logits), vector(targets), options));
      return { loss: hold(loss), lse: hold(lse) };
    },
    crossEntropyGrad: (dLoss, logits, targets, _lse, options) =>
      run(() => layerOps.crossEntropyGrad(view(dLoss), matrix(logits), vector(targets), options)),

    adamw: (updates, problem) => {
      const { clip } = problem;
      const factor = clip && inside(() => arithmetic.clipFactor(view(clip.normSquared), clip.maxNorm));
      for (const update of updates) {
        const next = inside(() => arithmetic.adamwStep(update, problem, factor));
        replace(update.param.buffer, next.param);
        replace(update.m.buffer, next.m);
        replace(update.v.buffer, next.v);
      }
      factor?.dispose();
    },
  };
}

function attentionTensors(inputs: AttentionInputs<Handle>): AttentionTensors {
  const { sizes, scale, q, k, v, bias, starts } = inputs;
  return {
    sizes,
    scale,
    q: four(q),
    k: four(k),
    v: four(v),
    bias: bias && matrix(bias),
    ...perHead((name) => {
      const x = inputs[name];
      return x && vector(x);
    }),
    starts: starts && matrix(starts),
  };
}

function elasticRows({ scores, tau, starts }: ElasticSoftmaxInputs<Handle>) {
  return givenScores(four(scores), tau && vector(tau), starts && matrix(starts));
}
