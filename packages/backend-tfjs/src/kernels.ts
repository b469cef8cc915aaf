import {
  type AttentionInputs,
  type DType,
  type ElasticSoftmaxInputs,
  elementCount,
  type Kernels,
  OutOfMemoryError,
  type SavedState,
  type Shape,
  type TensorData,
  UnsupportedError,
} from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import * as arithmetic from './arithmetic.ts';
import { type AttentionTensors, attentionBackward, attentionForward, attentionWeights } from './attention.ts';
import { elasticWeights, givenScores, softmaxGradient } from './elastic.ts';
import { type Engine, onEngine } from './engine.ts';
import { type Handle, isHandle, type Operand, TFJS_DTYPE } from './handle.ts';
import * as layerOps from './layer-ops.ts';
import * as primitives from './primitives.ts';
import { createRotations } from './rotations.ts';

/** Attention recomputes its probabilities, so nothing is kept. */
const NOTHING_SAVED: SavedState = { bytes: 0 };

/** One tensor may not exceed what a typed array of every engine can hold. */
const MOST_BYTES = 2 ** 31 - 4;

/** The whole contract on one tfjs engine. Every op runs in `tf.tidy`: what it does not return is freed. */
export function createKernels(engine: Engine): Kernels<Handle> {
  const { products } = engine;
  const live = new Set<Handle>();
  const rotations = createRotations();

  const handleOf = (tensor: tf.Tensor): Handle => {
    const handle = { tensor: tf.keep(tensor) };
    live.add(handle);
    return handle;
  };
  const inside = <T extends tf.TensorContainer>(fn: () => T): T =>
    guardMemory(() => onEngine(engine, () => tf.tidy(fn)));
  const run = (fn: () => tf.Tensor): Handle => handleOf(inside(fn));
  const replace = (handle: Handle, tensor: tf.Tensor) => {
    const { shape } = handle.tensor;
    const next = tf.keep(
      tensor.shape.join() === shape.join() ? tensor : onEngine(engine, () => tf.reshape(tensor, shape)),
    );
    if (next !== tensor) tensor.dispose();
    handle.tensor.dispose();
    handle.tensor = next;
  };

  return {
    name: 'tfjs',
    device: engine.device,
    dtypes: new Set<DType>(['f32', 'i32']),

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
    free: (handle) => {
      live.delete(handle);
      handle.tensor.dispose();
    },
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
      for (const handle of live) handle.tensor.dispose();
      live.clear();
      rotations.dispose();
    },

    cast: (x) => run(() => tf.reshape(view(x), [...x.shape])),
    slice: (x, window) => run(() => arithmetic.slice(view(x), window)),
    copyInto: (target, source, window) =>
      replace(
        target.buffer,
        inside(() => arithmetic.replaced(view(target), view(source), window)),
      ),

    unary: (x, fn) => run(() => primitives.unary(view(x), fn)),
    binary: (a, b, fn, window) => run(() => primitives.binary(view(a), view(b), fn, window)),
    reduce: (x, fn, window) => run(() => primitives.reduce(view(x), fn, window)),
    rearrange: (x, window) => run(() => primitives.rearrange(view(x), window)),

    add: (a, b) => run(() => tf.add(view(a), view(b))),
    mul: (a, b) => run(() => tf.mul(view(a), view(b))),
    scale: (x, factor) => run(() => tf.mul(view(x), factor)),
    sum: (x) => run(() => arithmetic.sumAll(view(x))),
    sumGrad: (dy, shape) => run(() => tf.mul(tf.ones([...shape]), view(dy))),
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

    rmsNorm: (x, weight, epsilon) => run(() => layerOps.rmsNorm(matrix(x), view(weight), epsilon)),
    rmsNormGrad: (dy, x, weight, epsilon) => {
      const { dx, dweight } = inside(() =>
        layerOps.rmsNormGrad(products, matrix(dy), matrix(x), view(weight), epsilon),
      );
      return { dx: handleOf(dx), dweight: handleOf(dweight) };
    },
    rope: (x, rotation) => run(() => layerOps.rotate(four(x), rotations.tables(x.shape[1], x.shape[3], rotation))),

    attention: (inputs, save) => ({
      output: run(() => attentionForward(products, attentionTensors(inputs))),
      saved: save ? NOTHING_SAVED : null,
    }),
    attentionGrad: (dOutput, inputs) => {
      const { dq, dk, dv, dbias, dtau } = inside(() => {
        const { dbias, dtau, ...rest } = attentionBackward(products, four(dOutput), attentionTensors(inputs));
        return { ...rest, dbias: dbias ?? undefined, dtau: dtau ?? undefined };
      });
      return {
        dq: handleOf(dq),
        dk: handleOf(dk),
        dv: handleOf(dv),
        dbias: dbias === undefined ? null : handleOf(dbias),
        dtau: dtau === undefined ? null : handleOf(dtau),
      };
    },
    attentionWeights: (inputs) => run(() => attentionWeights(products, attentionTensors({ ...inputs, v: inputs.k }))),

    elasticSoftmax: (inputs) => run(() => elasticWeights(elasticRows(inputs)).weights),
    elasticSoftmaxGrad: (dWeights, inputs) => {
      const { ds, dtau } = inside(() => {
        const { ds, dtauRows } = softmaxGradient(elasticRows(inputs), four(dWeights));
        return { ds, dtau: dtauRows === null ? undefined : tf.sum(dtauRows, [0, 2, 3]) };
      });
      return { dscores: handleOf(ds), dtau: dtau === undefined ? null : handleOf(dtau) };
    },

    swiglu: (gate, up) => run(() => layerOps.swiglu(view(gate), view(up))),
    swigluGrad: (dy, gate, up) => {
      const { dgate, dup } = inside(() => layerOps.swigluGrad(view(dy), view(gate), view(up)));
      return { dgate: handleOf(dgate), dup: handleOf(dup) };
    },

    embedding: (weight, ids) => run(() => layerOps.embedding(matrix(weight), view(ids))),
    embeddingGrad: (dy, ids, vocabulary) => run(() => layerOps.embeddingGrad(engine, view(dy), view(ids), vocabulary)),

    crossEntropy: (logits, targets, options) => {
      const { loss, lse } = inside(() => layerOps.crossEntropy(matrix(logits), vector(targets), options));
      return { loss: handleOf(loss), lse: handleOf(lse) };
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

/** The handle's tensor in the shape that the op sees. */
function view(x: Operand): tf.Tensor {
  const { tensor } = x.buffer;
  return tensor.shape.length === x.shape.length && tensor.shape.every((size, i) => size === x.shape[i])
    ? tensor
    : tf.reshape(tensor, [...x.shape]);
}

const vector = (x: Operand) => view(x) as tf.Tensor1D;
const matrix = (x: Operand) => view(x) as tf.Tensor2D;
const four = (x: Operand) => view(x) as tf.Tensor4D;

function attentionTensors(inputs: AttentionInputs<Handle>): AttentionTensors {
  const { sizes, scale, q, k, v, bias, tau, starts } = inputs;
  return {
    sizes,
    scale,
    q: four(q),
    k: four(k),
    v: four(v),
    bias: bias && matrix(bias),
    tau: tau && vector(tau),
    starts: starts && matrix(starts),
  };
}

function elasticRows({ scores, tau, starts }: ElasticSoftmaxInputs<Handle>) {
  return givenScores(four(scores), tau && vector(tau), starts && matrix(starts));
}

function tfjsType(dtype: DType): 'float32' | 'int32' {
  if (dtype === 'f32' || dtype === 'i32') return TFJS_DTYPE[dtype];
  throw new UnsupportedError(`tfjs has no ${dtype}; it has f32, i32`);
}

function checkSize(shape: Shape): void {
  const bytes = 4 * elementCount(shape);
  if (bytes > MOST_BYTES) {
    throw new OutOfMemoryError(`tfjs: a tensor of ${bytes} bytes; the most is ${MOST_BYTES}`, bytes);
  }
}

/** Engines say that memory has run out in words of their own. */
function guardMemory<T>(fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (
      /out of memory|enlarge memory|array buffer allocation|invalid typed array length|OOM|resource exhausted/i.test(
        message,
      )
    ) {
      throw new OutOfMemoryError(`tfjs: ${message.split('\n')[0]}; ${tf.memory().numBytes} bytes are in use`, 0);
    }
    throw error;
  }
}
