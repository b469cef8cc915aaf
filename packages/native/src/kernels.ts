import {
  type AttentionInputs,
  type DecodeInputs,
  type DecoderLayerInputs,
  type DecoderLayerOperands,
  type DType,
  elementCount,
  type Kernels,
  type KernelTensor,
  type SavedState,
  type TensorData,
} from '@lazy-attention/core';
import type { AttentionArguments, NativeContext, NativeMemory } from './addon.ts';
import { type NativeBuffer, nativeBuffers } from './buffers.ts';

/** Row statistics of an attention, in device memory. */
export interface NativeSaved extends SavedState {
  readonly buffer: NativeBuffer;
}

export interface NativeKernels extends Kernels<NativeBuffer, NativeSaved> {
  /** What the caching allocator holds. */
  nativeMemory(): NativeMemory;
}

type T = KernelTensor<NativeBuffer>;

/** Core's `Kernels` on top of a native context: turns objects into positional arguments, and numbers into handles. */
export function createNativeKernels(name: string, native: NativeContext): NativeKernels {
  const { outputs } = native;
  const { hold, free } = nativeBuffers(native);
  const output = (index: number): NativeBuffer => hold(outputs[index]);
  let ended: Promise<void> | undefined;
  const optionalOutput = (index: number): NativeBuffer | null => (outputs[index] === 0 ? null : output(index));
  return {
    name,
    device: native.device,
    dtypes: new Set(native.dtypes as readonly DType[]),
    nativeMemory: () => native.memory(),

    upload: (data, _shape, dtype) => hold(native.upload(hostData(data, dtype), dtype)),
    full: (shape, value, dtype) => hold(native.full(elementCount(shape), value, dtype)),
    read: async (x) => native.read(x.buffer.id),
    free,
    freeSaved: (saved) => free(saved.buffer),
    synchronize: async () => native.synchronize(),
    dispose: () => (ended ??= native.dispose()),

    cast: (x, dtype) => hold(native.cast(x.buffer.id, dtype)),
    slice: (x, { outer, length, inner, start, count }) =>
      hold(native.slice(x.buffer.id, outer, length, inner, start, count)),
    copyInto: (target, source, { outer, length, inner, start, count }) =>
      native.copyInto(target.buffer.id, source.buffer.id, outer, length, inner, start, count),

    add: (a, b) => hold(native.add(a.buffer.id, b.buffer.id)),
    mul: (a, b) => hold(native.mul(a.buffer.id, b.buffer.id)),
    scale: (x, factor) => hold(native.scale(x.buffer.id, factor)),
    sum: (x) => hold(native.sum(x.buffer.id)),
    sumGrad: (dy, shape, dtype) => hold(native.sumGrad(dy.buffer.id, elementCount(shape), dtype)),
    sumSquares: (tensors) => hold(native.sumSquares(Int32Array.from(tensors, idOf))),

    matmul(a, b, { batch, m, n, k, transposeA, transposeB }, accumulate) {
      const into = optionalId(accumulate);
      const product = native.matmul(a.buffer.id, b.buffer.id, into, batch, m, n, k, transposeA, transposeB);
      return accumulate?.buffer ?? hold(product as number);
    },

    rmsNorm: (x, weight, epsilon) => hold(native.rmsNorm(x.buffer.id, weight.buffer.id, epsilon)),
    rmsNormGrad(dy, x, weight, epsilon) {
      native.rmsNormGrad(dy.buffer.id, x.buffer.id, weight.buffer.id, epsilon);
      return { dx: output(0), dweight: output(1) };
    },
    rope(x, { base, offset, inverse }) {
      const [batch, length, heads, dim] = x.shape as [number, number, number, number];
      return hold(native.rope(x.buffer.id, batch, length, heads, dim, offset, base, inverse));
    },

    attention(inputs, save) {
      native.attention(...attentionArguments(inputs, inputs.v), save);
      const result = output(0);
      return { output: result, saved: save ? { buffer: output(1), bytes: outputs[2] } : null };
    },
    attentionGrad(dOutput, inputs, { buffer }, saved) {
      native.attentionGrad(...attentionArguments(inputs, inputs.v), dOutput.buffer.id, buffer.id, saved.buffer.id);
      const [dq, dk, dv] = [output(0), output(1), output(2)];
      return { dq, dk, dv, dbias: optionalOutput(3), dtau: optionalOutput(4) };
    },
    attentionWeights: (inputs) => hold(native.attentionWeights(...attentionArguments(inputs, null))),

    elasticSoftmax: ({ scores, tau, starts }) =>
      hold(native.elasticSoftmax(scores.buffer.id, optionalId(tau), optionalId(starts), ...fourSizes(scores))),
    elasticSoftmaxGrad(dWeights, { scores, tau, starts }) {
      const ids = [scores.buffer.id, optionalId(tau), optionalId(starts)] as const;
      native.elasticSoftmaxGrad(dWeights.buffer.id, ...ids, ...fourSizes(scores));
      return { dscores: output(0), dtau: optionalOutput(1) };
    },

    swiglu: (gate, up) => hold(native.swiglu(gate.buffer.id, up.buffer.id)),
    swigluGrad(dy, gate, up) {
      native.swigluGrad(dy.buffer.id, gate.buffer.id, up.buffer.id);
      return { dgate: output(0), dup: output(1) };
    },

    embedding: (weight, ids) => hold(native.embedding(weight.buffer.id, ids.buffer.id, weight.shape[0] as number)),
    embeddingGrad: (dy, ids, vocabulary) => hold(native.embeddingGrad(dy.buffer.id, ids.buffer.id, vocabulary)),

    crossEntropy(logits, targets, { ignoreIndex, count }) {
      native.crossEntropy(logits.buffer.id, targets.buffer.id, ignoreIndex, count);
      return { loss: output(0), lse: output(1) };
    },
    crossEntropyGrad: (dLoss, logits, targets, lse, { ignoreIndex, count }) => {
      const ids = [dLoss.buffer.id, logits.buffer.id, targets.buffer.id, lse.buffer.id] as const;
      return hold(native.crossEntropyGrad(...ids, ignoreIndex, count));
    },

    ...(native.decoderLayer === undefined ? {} : { decoderLayer: decoderLayerOf(native.decoderLayer) }),
    ...(native.decode === undefined ? {} : { decode: decodeOf(native.decode, hold) }),

    adamw(updates, problem) {
      native.adamw(
        Int32Array.from(updates, ({ param }) => param.buffer.id),
        Int32Array.from(updates, ({ grad }) => grad.buffer.id),
        Int32Array.from(updates, ({ m }) => m.buffer.id),
        Int32Array.from(updates, ({ v }) => v.buffer.id),
        Float64Array.from(updates, (update) => update.weightDecay),
        problem.learningRate,
        problem.beta1,
        problem.beta2,
        problem.epsilon,
        problem.correction1,
        problem.correction2,
        optionalId(problem.clip?.normSquared ?? null),
        problem.clip?.maxNorm ?? 0,
      );
    },
  };
}

function decoderLayerOf(
  launch: NonNullable<NativeContext['decoderLayer']>,
): (layer: DecoderLayerInputs<NativeBuffer>) => void {
  return (layer) => {
    const { sizes } = layer;
    launch(
      layer.x.buffer.id,
      layer.keys.buffer.id,
      layer.values.buffer.id,
      optionalId(layer.bias),
      optionalId(layer.tau),
      optionalId(layer.starts),
      layer.attentionNorm.buffer.id,
      layer.q.buffer.id,
      layer.k.buffer.id,
      layer.v.buffer.id,
      layer.o.buffer.id,
      layer.mlpNorm.buffer.id,
      layer.gate.buffer.id,
      layer.up.buffer.id,
      layer.down.buffer.id,
      sizes.batch,
      sizes.length,
      sizes.width,
      sizes.capacity,
      sizes.heads,
      sizes.kvHeads,
      sizes.headDim,
      sizes.inner,
      sizes.window,
      layer.position,
      layer.epsilon,
      layer.ropeBase ?? 0,
    );
  };
}

function decodeOf(
  launch: NonNullable<NativeContext['decode']>,
  hold: (id: number) => NativeBuffer,
): (problem: DecodeInputs<NativeBuffer>) => NativeBuffer {
  return (problem) => {
    const { sizes } = problem;
    const drawn = launch(
      problem.tokens.buffer.id,
      optionalId(problem.starts),
      problem.embeddings.buffer.id,
      problem.norm.buffer.id,
      problem.head.buffer.id,
      Int32Array.from(problem.layers.flatMap(idsOf)),
      sizes.batch,
      sizes.width,
      sizes.capacity,
      sizes.heads,
      sizes.kvHeads,
      sizes.headDim,
      sizes.inner,
      sizes.window,
      problem.vocabulary,
      problem.steps,
      problem.position,
      problem.epsilon,
      problem.ropeBase ?? 0,
      problem.temperature,
      problem.topK,
      problem.topP,
      problem.uniforms,
    );
    return hold(drawn);
  };
}

function idsOf(layer: DecoderLayerOperands<NativeBuffer>): number[] {
  const { keys, values, bias, tau, attentionNorm, q, k, v, o, mlpNorm, gate, up, down } = layer;
  return [keys, values, bias, tau, attentionNorm, q, k, v, o, mlpNorm, gate, up, down].map(optionalId);
}

function idOf(x: T): number {
  return x.buffer.id;
}

function optionalId(x: T | null): number {
  return x === null ? 0 : x.buffer.id;
}

function hostData(data: TensorData, dtype: DType): Float32Array | Int32Array {
  if (dtype === 'i32') return data instanceof Int32Array ? data : Int32Array.from(data);
  return data instanceof Float32Array ? data : Float32Array.from(data);
}

function fourSizes(scores: T): [number, number, number, number] {
  return scores.shape as readonly number[] as [number, number, number, number];
}

function attentionArguments(inputs: Omit<AttentionInputs<NativeBuffer>, 'v'>, v: T | null): AttentionArguments {
  const { sizes } = inputs;
  return [
    inputs.q.buffer.id,
    inputs.k.buffer.id,
    optionalId(v),
    optionalId(inputs.bias),
    optionalId(inputs.tau),
    optionalId(inputs.starts),
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
