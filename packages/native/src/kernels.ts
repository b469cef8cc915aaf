import {
  type AttentionInputs,
  type DType,
  elementCount,
  type Kernels,
  type KernelTensor,
  type SavedState,
  type SliceView,
  type TensorData,
} from '@lazy-attention/core';
import type { AttentionArguments, NativeBuffer, NativeContext, NativeMemory } from './addon.ts';
import { typedError } from './errors.ts';

/** Row statistics of an attention, in device memory. */
export interface NativeSaved extends SavedState {
  readonly buffer: NativeBuffer;
}

export interface NativeKernels extends Kernels<NativeBuffer, NativeSaved> {
  /** What the caching allocator holds. */
  nativeMemory(): NativeMemory;
}

type T = KernelTensor<NativeBuffer>;

/** Core's `Kernels` on top of a native context: turns objects into positional arguments, and errors into core's classes. */
export function createNativeKernels(name: string, context: NativeContext): NativeKernels {
  const native = typed(name, context);
  const buffer = (x: T | null): NativeBuffer | null => x?.buffer ?? null;
  const kernels: NativeKernels = {
    name,
    device: context.device,
    dtypes: new Set(context.dtypes as readonly DType[]),
    nativeMemory: () => native.memory(),

    upload: (data, _shape, dtype) => native.upload(hostData(data, dtype), dtype),
    full: (shape, value, dtype) => native.full(elementCount(shape), value, dtype),
    read: async (x) => native.read(x.buffer),
    free: (x) => native.free(x),
    freeSaved: (saved) => native.free(saved.buffer),
    synchronize: async () => native.synchronize(),
    dispose: async () => native.dispose(),

    cast: (x, dtype) => native.cast(x.buffer, dtype),
    slice: (x, view) => native.slice(x.buffer, ...viewArguments(view)),
    copyInto: (target, source, view) => native.copyInto(target.buffer, source.buffer, ...viewArguments(view)),

    add: (a, b) => native.add(a.buffer, b.buffer),
    mul: (a, b) => native.mul(a.buffer, b.buffer),
    scale: (x, factor) => native.scale(x.buffer, factor),
    sum: (x) => native.sum(x.buffer),
    sumGrad: (dy, shape, dtype) => native.sumGrad(dy.buffer, elementCount(shape), dtype),
    sumSquares: (tensors) => native.sumSquares(tensors.map((x) => x.buffer)),

    matmul(a, b, { batch, m, n, k, transposeA, transposeB }, accumulate) {
      const product = native.matmul(a.buffer, b.buffer, buffer(accumulate), batch, m, n, k, transposeA, transposeB);
      return accumulate?.buffer ?? (product as NativeBuffer);
    },

    rmsNorm: (x, weight, epsilon) => native.rmsNorm(x.buffer, weight.buffer, epsilon),
    rmsNormGrad: (dy, x, weight, epsilon) => native.rmsNormGrad(dy.buffer, x.buffer, weight.buffer, epsilon),
    rope(x, { base, offset, inverse }) {
      const [batch, length, heads, dim] = x.shape as [number, number, number, number];
      return native.rope(x.buffer, batch, length, heads, dim, offset, base, inverse);
    },

    attention(inputs, save) {
      const { output, saved, savedBytes } = native.attention(...attentionArguments(inputs, inputs.v), save);
      return { output, saved: saved === null ? null : { buffer: saved, bytes: savedBytes } };
    },
    attentionGrad: (dOutput, inputs, output, saved) =>
      native.attentionGrad(...attentionArguments(inputs, inputs.v), dOutput.buffer, output.buffer, saved.buffer),
    attentionWeights: (inputs) => native.attentionWeights(...attentionArguments(inputs, null)),

    elasticSoftmax: ({ scores, tau, starts }) =>
      native.elasticSoftmax(scores.buffer, buffer(tau), buffer(starts), ...fourSizes(scores)),
    elasticSoftmaxGrad: (dWeights, { scores, tau, starts }) =>
      native.elasticSoftmaxGrad(dWeights.buffer, scores.buffer, buffer(tau), buffer(starts), ...fourSizes(scores)),

    swiglu: (gate, up) => native.swiglu(gate.buffer, up.buffer),
    swigluGrad: (dy, gate, up) => native.swigluGrad(dy.buffer, gate.buffer, up.buffer),

    embedding: (weight, ids) => native.embedding(weight.buffer, ids.buffer, weight.shape[0] as number),
    embeddingGrad: (dy, ids, vocabulary) => native.embeddingGrad(dy.buffer, ids.buffer, vocabulary),

    crossEntropy: (logits, targets, { ignoreIndex, count }) =>
      native.crossEntropy(logits.buffer, targets.buffer, ignoreIndex, count),
    crossEntropyGrad: (dLoss, logits, targets, lse, { ignoreIndex, count }) =>
      native.crossEntropyGrad(dLoss.buffer, logits.buffer, targets.buffer, lse.buffer, ignoreIndex, count),

    adamw(updates, problem) {
      native.adamw(
        updates.map((update) => update.param.buffer),
        updates.map((update) => update.grad.buffer),
        updates.map((update) => update.m.buffer),
        updates.map((update) => update.v.buffer),
        Float64Array.from(updates, (update) => update.weightDecay),
        problem.learningRate,
        problem.beta1,
        problem.beta2,
        problem.epsilon,
        problem.correction1,
        problem.correction2,
        problem.clip?.normSquared.buffer ?? null,
        problem.clip?.maxNorm ?? 0,
      );
    },
  };
  return kernels;
}

/** The context with every method's errors, thrown or rejected, turned into core's classes that name the op. */
function typed(name: string, context: NativeContext): NativeContext {
  const methods = Object.entries(context).filter(([, value]) => typeof value === 'function');
  const wrapped = methods.map(([op, method]) => [
    op,
    (...args: unknown[]) => {
      try {
        const result: unknown = method(...args);
        if (!(result instanceof Promise)) return result;
        return result.catch((error: unknown) => {
          throw typedError(name, op, error);
        });
      } catch (error) {
        throw typedError(name, op, error);
      }
    },
  ]);
  return { ...context, ...Object.fromEntries(wrapped) } as NativeContext;
}

function hostData(data: TensorData, dtype: DType): Float32Array | Int32Array {
  if (dtype === 'i32') return data instanceof Int32Array ? data : Int32Array.from(data);
  return data instanceof Float32Array ? data : Float32Array.from(data);
}

function viewArguments(view: SliceView): [number, number, number, number, number] {
  return [view.outer, view.length, view.inner, view.start, view.count];
}

function fourSizes(scores: T): [number, number, number, number] {
  return scores.shape as readonly number[] as [number, number, number, number];
}

function attentionArguments(inputs: Omit<AttentionInputs<NativeBuffer>, 'v'>, v: T | null): AttentionArguments {
  const { sizes } = inputs;
  return [
    inputs.q.buffer,
    inputs.k.buffer,
    v?.buffer ?? null,
    inputs.bias?.buffer ?? null,
    inputs.tau?.buffer ?? null,
    inputs.starts?.buffer ?? null,
    inputs.scale,
    sizes.batch,
    sizes.queryLength,
    sizes.keyLength,
    sizes.keyCapacity,
    sizes.heads,
    sizes.kvHeads,
    sizes.headDim,
    sizes.window,
  ];
}
