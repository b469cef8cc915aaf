import {
  type AttentionInputs,
  BINARY_FUNCTIONS,
  type DecoderKernels,
  type DType,
  elementCount,
  isPacked,
  type Kernels,
  type KernelTensor,
  LEARNED_NAMES,
  learnedGrads,
  type PackedDType,
  REDUCE_FUNCTIONS,
  type SavedState,
  type TensorData,
  UNARY_FUNCTIONS,
  warn,
} from '@lazy-attention/core';
import type { NativeContext, NativeMemory, NativeOp } from './addon.ts';
import { type NativeBuffer, nativeBuffers } from './buffers.ts';
import { type NativeOps, nativeOps } from './ops.ts';
import { sharedMemory, workOn } from './shared.ts';

/** Row statistics of an attention, in device memory. */
export interface NativeSaved extends SavedState {
  /** The addon's number of what is kept. */
  readonly buffer: NativeBuffer;
}

/** `Kernels` whose buffers are numbers of the addon. */
export interface NativeKernels extends Kernels<NativeBuffer, NativeSaved> {
  /** What the caching allocator holds. */
  nativeMemory(): NativeMemory;
}

type T = KernelTensor<NativeBuffer>;

/**
 * Core's `Kernels` on top of a native context. Most are the binary's own ops as they are; those that are written out here are
 * launched too often for a lookup by name, or take more than their fields.
 *
 * @param described the ops that the binary states
 * @throws MismatchError when the binary's ops are not those that this JavaScript knows
 */
export function createNativeKernels(
  name: string,
  native: NativeContext,
  described: readonly NativeOp[],
): NativeKernels {
  const { outputs } = native;
  const { hold, free } = nativeBuffers(native);
  const ops = nativeOps(described, native, hold);
  let ended: Promise<void> | undefined;
  const heard = warningsOf(name, native);
  return {
    ...(ops.kernels() as unknown as NativeKernels),
    name,
    device: native.device,
    dtypes: new Set(native.dtypes as readonly DType[]),
    packedDTypes: new Set(native.packedDtypes as readonly PackedDType[]),
    nativeMemory: () => native.memory(),
    ...(native.launches === undefined ? {} : { launches: native.launches }),

    upload: (data, _shape, dtype) => hold(native.upload(hostData(data, dtype), ops.dtype(dtype))),
    read: async (x) => heard(native.read(x.buffer.id)),
    readInto: (xs, target) => workOn('readInto', target, (own) => heard(native.readInto(idsOf(xs), own))),
    async writeFrom(xs, source) {
      await native.writeFrom(idsOf(xs), sharedMemory(source));
    },
    free,
    freeSaved: (saved) => free(saved.buffer),
    synchronize: async () => heard(native.synchronize()),
    dispose: async () => (ended ??= native.dispose()),

    ...copies(ops, hold),
    ...arithmetic(ops, hold),
    ...layers(ops, hold),
    ...attention(ops, hold, outputs),
  };
}

/** What was said already: each once in a process. */
const said = new Set<string>();

/** A function that passes a promise on, and says what the device has to say once the promise is settled, and at once. */
function warningsOf(name: string, native: NativeContext): <V>(promise: Promise<V>) => Promise<V> {
  const { takeWarnings } = native;
  if (takeWarnings === undefined) return (promise) => promise;
  const say = () => {
    for (const text of takeWarnings() ?? []) {
      if (said.has(text)) continue;
      said.add(text);
      warn(`${name}: ${text}`);
    }
  };
  say();
  return (promise) => promise.finally(say);
}

type Hold = (id: number) => NativeBuffer;
type Some<Name extends keyof NativeKernels> = Required<Pick<NativeKernels, Name>>;

function copies(ops: NativeOps, hold: Hold): Some<'full' | 'slice' | 'copyInto'> {
  const full = ops.positional('full', 'size', 'value', 'dtype');
  const [from, to] = [
    ['fromLength', 'fromStart'],
    ['toLength', 'toStart'],
  ] as const;
  const copyRows = ops.positional('copyRows', 'from', 'outer', 'inner', 'count', ...from, ...to, 'to');
  return {
    full: (shape, value, dtype) => hold(full(elementCount(shape), value, ops.dtype(dtype)) as number),
    slice: (x, { outer, length, inner, start, count }) =>
      hold(copyRows(x.buffer.id, outer, inner, count, length, start, count, 0, 0) as number),
    copyInto(target, source, { outer, length, inner, start, count }) {
      copyRows(source.buffer.id, outer, inner, count, count, 0, length, start, target.buffer.id);
    },
  };
}

function arithmetic(ops: NativeOps, hold: Hold): Some<'scale' | 'unary' | 'binary' | 'reduce' | 'matmul' | 'adamw'> {
  const scale = ops.positional('scale', 'x', 'factor');
  const unary = ops.family('unary', UNARY_FUNCTIONS, 'x');
  const binary = ops.family('binary', BINARY_FUNCTIONS, 'a', 'b');
  const binaryView = ops.family('binaryView', BINARY_FUNCTIONS, 'a', 'b');
  const reduce = ops.family('reduce', REDUCE_FUNCTIONS, 'x', 'outer', 'length', 'inner', 'dtype');
  const sizes = ['batch', 'm', 'n', 'k'] as const;
  const matmul = ops.positional('matmul', 'a', 'b', ...sizes, 'transposeA', 'transposeB', 'accumulate');
  const adamw = ops.named('adamw');
  return {
    scale: (x, factor) => hold(scale(x.buffer.id, factor) as number),
    unary: (x, fn) => hold(unary[fn](x.buffer.id) as number),
    binary(a, b, fn, { sizes, stridesA, stridesB }) {
      if (sizes.length === 1 && stridesA[0] === 1 && stridesB[0] === 1) {
        return hold(binary[fn](a.buffer.id, b.buffer.id) as number);
      }
      ops.putAxes(0, sizes);
      ops.putAxes(1, stridesA);
      ops.putAxes(2, stridesB);
      return hold(binaryView[fn](a.buffer.id, b.buffer.id) as number);
    },
    reduce: (x, fn, { outer, length, inner }, dtype) =>
      hold(reduce[fn](x.buffer.id, outer, length, inner, ops.dtype(dtype)) as number),
    matmul(a, b, { batch, m, n, k, transposeA, transposeB }, accumulate) {
      const into = optionalId(accumulate);
      const product = matmul(a.buffer.id, b.buffer.id, batch, m, n, k, transposeA, transposeB, into);
      return accumulate?.buffer ?? hold(product as number);
    },
    adamw(updates, { clip, ...problem }) {
      adamw({
        ...problem,
        params: updates.map(({ param }) => param),
        grads: updates.map(({ grad }) => grad),
        ms: updates.map(({ m }) => m),
        vs: updates.map(({ v }) => v),
        weightDecays: Float64Array.from(updates, (update) => update.weightDecay),
        normSquared: clip?.normSquared ?? null,
        maxNorm: clip?.maxNorm ?? 0,
      });
    },
  };
}

function layers(ops: NativeOps, hold: Hold): Some<'rmsNorm' | 'rope' | 'swiglu' | 'embedding'> & Fused {
  const rmsNorm = ops.positional('rmsNorm', 'x', 'weight', 'epsilon');
  const sizes = ['batch', 'length', 'heads', 'headDim'] as const;
  const rope = ops.positional('rope', 'x', ...sizes, 'offset', 'base', 'inverse');
  const swiglu = ops.positional('swiglu', 'gate', 'up');
  const embedding = ops.positional('embedding', 'weight', 'ids', 'vocabulary');
  return {
    rmsNorm: (x, weight, epsilon) => hold(rmsNorm(x.buffer.id, weight.buffer.id, epsilon) as number),
    rope(x, { base, offset, inverse }) {
      const [batch, length, heads, dim] = fourSizes(x);
      return hold(rope(x.buffer.id, batch, length, heads, dim, offset, base, inverse) as number);
    },
    swiglu: (gate, up) => hold(swiglu(gate.buffer.id, up.buffer.id) as number),
    embedding: (weight, ids) => hold(embedding(weight.buffer.id, ids.buffer.id, weight.shape[0] as number) as number),
    ...(ops.has('decoderLayer') && ops.has('decode')
      ? { decoder: { layer: decoderLayerOf(ops), decode: decodeOf(ops, hold) } }
      : {}),
  };
}

type Fused = Pick<NativeKernels, 'decoder'>;

function decoderLayerOf(ops: NativeOps): NonNullable<DecoderKernels<NativeBuffer>['layer']> {
  const launch = ops.named('decoderLayer');
  return ({ sizes, ...layer }) => {
    launch({ ...sizes, ...layer });
  };
}

function decodeOf(ops: NativeOps, hold: Hold): DecoderKernels<NativeBuffer>['decode'] {
  const launch = ops.named('decode');
  return ({ sizes, ...problem }) => hold(launch({ ...sizes, length: 1, ...problem }) as number);
}

function attention(
  ops: NativeOps,
  hold: Hold,
  outputs: Float64Array,
): Some<'attention' | 'attentionGrad' | 'attentionWeights' | 'elasticSoftmax' | 'elasticSoftmaxGrad'> {
  const inputs = ['q', 'k', 'v', ...LEARNED_NAMES, 'starts', 'scale', ...ATTENTION_SIZES];
  const forward = ops.positional('attention', ...inputs, 'save');
  const backward = ops.positional('attentionGrad', ...inputs, 'dOutput', 'output', 'saved');
  const weights = ops.positional('attentionWeights', ...inputs);
  const dense = ['scores', 'tau', 'starts', 'batch', 'heads', 'queryLength', 'keyLength'] as const;
  const softmax = ops.positional('elasticSoftmax', ...dense);
  const softmaxGrad = ops.positional('elasticSoftmaxGrad', 'dWeights', ...dense);
  const output = (index: number): NativeBuffer => hold(outputs[index] as number);
  const optionalOutput = (index: number): NativeBuffer | null => (outputs[index] === 0 ? null : output(index));
  return {
    attention(problem, save) {
      forward(...attentionArguments(problem, problem.v), save);
      const result = output(0);
      return { output: result, saved: save ? { buffer: output(1), bytes: outputs[2] as number } : null };
    },
    attentionGrad(dOutput, problem, { buffer }, saved) {
      backward(...attentionArguments(problem, problem.v), dOutput.buffer.id, buffer.id, saved.buffer.id);
      const [dq, dk, dv] = [output(0), output(1), output(2)];
      return { dq, dk, dv, ...learnedGrads((name) => optionalOutput(3 + LEARNED_NAMES.indexOf(name))) };
    },
    attentionWeights: (problem) => hold(weights(...attentionArguments(problem, null)) as number),
    elasticSoftmax: ({ scores, tau, starts }) =>
      hold(softmax(scores.buffer.id, optionalId(tau), optionalId(starts), ...fourSizes(scores)) as number),
    elasticSoftmaxGrad(dWeights, { scores, tau, starts }) {
      const ids = [scores.buffer.id, optionalId(tau), optionalId(starts)] as const;
      softmaxGrad(dWeights.buffer.id, ...ids, ...fourSizes(scores));
      return { dscores: output(0), dtau: optionalOutput(1) };
    },
  };
}

/** Of `AttentionInputs.sizes`, in the order in which they are given. */
const ATTENTION_SIZES = [
  'batch',
  'queryLength',
  'keyLength',
  'keyCapacity',
  'heads',
  'kvHeads',
  'headDim',
  'window',
] as const;

function attentionArguments(problem: Omit<AttentionInputs<NativeBuffer>, 'v'>, v: T | null): number[] {
  const { q, k, starts, scale, sizes } = problem;
  const values = [q.buffer.id, k.buffer.id, optionalId(v)];
  for (const name of LEARNED_NAMES) values.push(optionalId(problem[name]));
  values.push(optionalId(starts), scale);
  for (const name of ATTENTION_SIZES) values.push(sizes[name]);
  return values;
}

function idsOf(xs: readonly T[]): Int32Array {
  return Int32Array.from(xs, (x) => x.buffer.id);
}

function optionalId(x: T | null): number {
  return x === null ? 0 : x.buffer.id;
}

function hostData(data: TensorData, dtype: DType): Float32Array | Int32Array {
  if (isPacked(dtype)) return data as Int32Array; // words
  if (dtype === 'i32') return data instanceof Int32Array ? data : Int32Array.from(data);
  return data instanceof Float32Array ? data : Float32Array.from(data);
}

function fourSizes(x: T): [number, number, number, number] {
  return x.shape as readonly number[] as [number, number, number, number];
}
