import {
  type Backend,
  BackendMismatchError,
  type DecodeOptions,
  type DecoderLayerState,
  type DecoderLayerWeights,
  DisposedError,
  DTYPES,
  type DType,
  DTypeError,
  type LazyAttentionError,
  ShapeError,
  UnsupportedError,
  ValueError,
} from '@lazy-attention/core';
import type { Case } from '../case.ts';
import { ConformanceError } from '../compare.ts';
import { assertNothingLeft, oracle } from '../evaluate.ts';
import { decoderOf, fusedLayer, lacksDecoder, lacksLayer } from './decoder-layer.ts';

type ErrorType = new (message: string) => LazyAttentionError;

interface Mistake {
  readonly error: ErrorType | ((backend: Backend) => ErrorType);
  /** Only for backends that fuse decoding. */
  readonly needsDecoder?: 'layer' | 'decode';
  /** Only for backends of several floating types. */
  readonly needsSecondType?: true;
  /** What the message must hold: the op, the argument, what was expected. */
  readonly says: readonly string[];
  /** Makes the mistake. May reject instead of throwing. */
  make(backend: Backend): unknown;
}

const secondType = (backend: Backend) => [...backend.dtypes].find((dtype) => dtype !== 'f32' && dtype !== 'i32');
const missingType = (backend: Backend) => DTYPES.find((dtype) => !backend.dtypes.has(dtype));
const q = (backend: Backend, ...shape: number[]) => backend.zeros(shape);
const ids = (backend: Backend, ...values: number[]) => backend.tensor(Int32Array.from(values), [values.length]);

/** Ids that the host does not know. */
const largest = (backend: Backend) => backend.reduce('argmax', backend.zeros([2, 3]), { axes: [1] });

/** As JavaScript without types might hand over. */
class LongerThanItIs extends Float32Array {
  override get length(): number {
    return 8;
  }
}

const MISTAKES: Readonly<Record<string, Mistake>> = {
  decoder_layer_of_another_width: {
    needsDecoder: 'layer',
    error: ShapeError,
    says: ['decoder.layer: '],
    make: (b) => decodeLayer(b, { down: b.zeros([8, 5]) }, 0),
  },
  decoder_layer_with_a_full_cache: {
    needsDecoder: 'layer',
    error: ValueError,
    says: ['decoder.layer: '],
    make: (b) => decodeLayer(b, {}, 6),
  },
  decoding_past_the_cache: {
    needsDecoder: 'decode',
    error: ValueError,
    says: ['decoder.decode'],
    make: (b) => decode(b, { position: 3, steps: 4 }),
  },
  decoding_without_random_numbers: {
    needsDecoder: 'decode',
    error: ValueError,
    says: ['decoder.decode: '],
    make: (b) => decode(b, { temperature: 1 }),
  },
  decoding_with_starts_in_the_future: {
    needsDecoder: 'decode',
    error: ValueError,
    says: ['decoder.decode: '],
    make: (b) => decode(b, { starts: b.tensor(Int32Array.of(0, 2), [2, 1]) }),
  },
  decoding_from_a_token_outside_the_vocabulary: {
    needsDecoder: 'decode',
    error: ValueError,
    says: ['decoder.decode: '],
    make: (b) => decode(b, {}, 5),
  },
  decoding_with_layers_that_share_a_cache: {
    needsDecoder: 'decode',
    error: ValueError,
    says: ['decoder.decode: '],
    make: (b) => {
      const layer = layerOf(b);
      return decode(b, {}, 0, [layer, layer]);
    },
  },
  decoding_with_a_layer_of_another_type: {
    needsDecoder: 'decode',
    needsSecondType: true,
    error: DTypeError,
    says: ['decoder.decode, layer 1: ', 'expected one type'],
    make: (b) => decode(b, {}, 0, [layerOf(b), layerOf(b, {}, secondType(b))]),
  },
  decoding_logits_that_are_not_numbers: {
    needsDecoder: 'decode',
    error: ValueError,
    says: ['decoder.decode: '],
    make: (b) => decode(b, {}, 0, [layerOf(b)], b.full([5, 8], Number.NaN)),
  },
  indices_from_a_sum: {
    error: DTypeError,
    says: ['sumGrad: dtype is i32'],
    make: (b) => b.sumGrad(b.full([], 1), [4], 'i32'),
  },
  ids_that_the_device_computed: {
    error: ValueError,
    says: ['embedding: ids was computed on the device', 'await ids.data()'],
    make: (b) => b.embedding(b.zeros([3, 2]), largest(b)),
  },
  targets_that_the_device_computed: {
    error: ValueError,
    says: ['crossEntropy: targets was computed on the device'],
    make: (b) => b.crossEntropy(b.zeros([2, 3]), largest(b)),
  },
  starts_that_the_device_computed: {
    error: ValueError,
    says: ['attention: starts was computed on the device'],
    make: (b) =>
      b.attention(q(b, 1, 2, 1, 4), q(b, 1, 2, 1, 4), q(b, 1, 2, 1, 4), { starts: b.reshape(largest(b), [1, 2]) }),
  },
  unknown_indices_copied_over_checked_ones: {
    error: ValueError,
    says: ['copyInto: source was computed on the device'],
    make: (b) => b.copyInto(ids(b, 0, 0, 0), largest(b), 0, 1),
  },
  starts_written_after_attention: {
    error: ValueError,
    says: ['attentionGrad: starts has been written in place'],
    make: (b) => {
      const x = q(b, 1, 2, 1, 4);
      const starts = b.zeros([1, 2], 'i32');
      const { output, saved } = b.attention(x, x, x, { starts });
      b.copyInto(starts, b.full([1, 2], 5000, 'i32'), 1, 0);
      return b.attentionGrad(output, saved);
    },
  },
  an_input_written_after_attention: {
    error: ValueError,
    says: ['attentionGrad: k has been written in place'],
    make: (b) => {
      const [x, k] = [q(b, 1, 2, 1, 4), q(b, 1, 2, 1, 4)];
      const { output, saved } = b.attention(x, k, x);
      b.copyInto(b.reshape(k, [8]), b.full([2], Number.NaN), 0, 3);
      return b.attentionGrad(output, saved);
    },
  },
  ids_written_out_of_range: {
    error: ValueError,
    says: ['embedding: ids holds 5000 at element 1'],
    make: (b) => {
      const given = ids(b, 0, 1);
      b.embedding(b.zeros([3, 2]), given);
      b.copyInto(given, ids(b, 5000), 0, 1);
      return b.embedding(b.zeros([3, 2]), given);
    },
  },
  an_array_that_lies_about_its_length: {
    error: ShapeError,
    says: ['tensor: data has 2 elements', '[8]'],
    make: (b) => b.tensor(new LongerThanItIs(2), [8]),
  },
  nested_arrays: {
    error: ValueError,
    says: ['tensor: data[0] is a value of type Array', 'expected a number'],
    make: (b) =>
      b.tensor(
        [
          [1, 2],
          [3, 4],
        ] as never,
        [2],
      ),
  },
  words_for_numbers: {
    error: ValueError,
    says: ["tensor: data[1] is 'two'"],
    make: (b) => b.tensor([1, 'two' as never], [2]),
  },
  a_product_too_large_to_index: {
    error: ShapeError,
    says: ['matmul: shape [65536, 65536]', '2147483647'],
    make: (b) => b.matmul(b.zeros([65536, 1]), b.zeros([1, 65536])),
  },
  a_function_that_is_not_there: {
    error: ValueError,
    says: ["unary: fn is 'erff'", 'gelu'],
    make: (b) => b.unary('erff' as 'exp', b.zeros([2])),
  },
  a_primitive_of_integers: {
    error: DTypeError,
    says: ['unary: x is i32'],
    make: (b) => b.unary('neg', ids(b, 1)),
  },
  shapes_that_cannot_be_broadcast: {
    error: ShapeError,
    says: ['binary: a has shape [2, 3]', '[2]', 'aligned at the last axis'],
    make: (b) => b.binary('add', b.zeros([2, 3]), b.zeros([2])),
  },
  operands_of_two_types: {
    error: DTypeError,
    says: ['binary: b is i32'],
    make: (b) => b.binary('mul', b.zeros([2]), ids(b, 1, 2)),
  },
  an_axis_that_is_not_there: {
    error: ValueError,
    says: ['reduce: axes is 2', '-2 to 1'],
    make: (b) => b.reduce('sum', b.zeros([2, 3]), { axes: [2] }),
  },
  an_axis_twice: {
    error: ValueError,
    says: ['reduce: axes is [0, -2]', 'at most once'],
    make: (b) => b.reduce('sum', b.zeros([2, 3]), { axes: [0, -2] }),
  },
  no_axis_at_all: {
    error: ValueError,
    says: ['reduce: axes is []'],
    make: (b) => b.reduce('max', b.zeros([2, 3]), { axes: [] }),
  },
  an_order_of_some_axes: {
    error: ValueError,
    says: ['permute: axes is [1]', 'each of the 2 axes'],
    make: (b) => b.permute(b.zeros([2, 3]), [1]),
  },
  a_shape_that_repeats_nothing: {
    error: ShapeError,
    says: ['broadcast: x has shape [2]', '[2, 3]'],
    make: (b) => b.broadcast(b.zeros([2]), [2, 3]),
  },
  more_axes_than_a_view_has: {
    error: ShapeError,
    says: ['permute: ', '9 axes', 'reshape first'],
    make: (b) => b.permute(b.zeros(new Array(9).fill(2)), [8, 7, 6, 5, 4, 3, 2, 1, 0]),
  },
  nothing_to_concat: {
    error: ValueError,
    says: ['concat: tensors', 'at least one'],
    make: (b) => b.concat([], 0),
  },
  tensors_that_do_not_join: {
    error: ShapeError,
    says: ['concat: tensors[1] has shape [3, 3]', '[2, 3]'],
    make: (b) => b.concat([b.zeros([2, 3]), b.zeros([3, 3])], 1),
  },
  padding_that_takes_away: {
    error: ValueError,
    says: ['pad: before is -1'],
    make: (b) => b.pad(b.zeros([2]), 0, -1, 0),
  },
  gathering_outside_the_axis: {
    error: ValueError,
    says: ['gather: indices holds 3', '0 to 2'],
    make: (b) => b.gather(b.zeros([2, 3]), ids(b, 1, 3), 1),
  },
  an_op_without_functions: {
    error: ValueError,
    says: ['custom: expected { inputs, forward, backward }'],
    make: (b) => b.custom({ inputs: [] } as never),
  },
  an_op_that_returns_nothing: {
    error: ValueError,
    says: ['custom: forward returned undefined', 'Tensor'],
    make: (b) => b.custom({ inputs: [], forward: () => undefined as never, backward: () => [] }),
  },
  shapes_that_differ: {
    error: ShapeError,
    says: ['add: b has shape [3]', '[2]'],
    make: (b) => b.add(b.zeros([2]), b.zeros([3])),
  },
  inner_sizes_that_differ: {
    error: ShapeError,
    says: ['matmul:', '[2, 3]', '[4, 5]'],
    make: (b) => b.matmul(b.zeros([2, 3]), b.zeros([4, 5])),
  },
  data_of_another_length: {
    error: ShapeError,
    says: ['tensor: data has 3 elements', '[2, 2]'],
    make: (b) => b.tensor([1, 2, 3], [2, 2]),
  },
  sizes_that_are_not_integers: {
    error: ShapeError,
    says: ['zeros: shape [2.5]', 'positive integers'],
    make: (b) => b.zeros([2.5]),
  },
  heads_that_do_not_divide: {
    error: ShapeError,
    says: ['attention: k has shape [2, 4, 3, 8]', 'query heads (8)', 'key/value heads (3)'],
    make: (b) => b.attention(q(b, 2, 4, 8, 8), q(b, 2, 4, 3, 8), q(b, 2, 4, 3, 8)),
  },
  head_dim_not_a_multiple_of_4: {
    error: ShapeError,
    says: ['attention: q', 'head size (6)', 'multiple of 4'],
    make: (b) => b.attention(q(b, 1, 2, 1, 6), q(b, 1, 2, 1, 6), q(b, 1, 2, 1, 6)),
  },
  more_queries_than_keys: {
    error: ShapeError,
    says: ['attention: q', 'queries (3)', '2'],
    make: (b) => b.attention(q(b, 1, 3, 1, 4), q(b, 1, 2, 1, 4), q(b, 1, 2, 1, 4)),
  },
  integers_where_floats_belong: {
    error: DTypeError,
    says: ['add: a is i32'],
    make: (b) => b.add(ids(b, 1), ids(b, 2)),
  },
  floats_where_integers_belong: {
    error: DTypeError,
    says: ['embedding: ids is f32', 'i32'],
    make: (b) => b.embedding(b.zeros([4, 2]), b.zeros([3])),
  },
  an_unknown_type: {
    error: DTypeError,
    says: ["zeros: dtype is 'f8'"],
    make: (b) => b.zeros([2], 'f8' as never),
  },
  an_id_out_of_vocabulary: {
    error: ValueError,
    says: ['embedding: ids holds 4 at element 1', '0 to 3'],
    make: (b) => b.embedding(b.zeros([4, 2]), ids(b, 0, 4)),
  },
  targets_that_all_are_ignored: {
    error: ValueError,
    says: ['crossEntropy', 'ignoreIndex'],
    make: (b) => b.crossEntropy(b.zeros([2, 3]), ids(b, -100, -100)),
  },
  starts_out_of_range: {
    error: ValueError,
    says: ['starts[0, 1] is 2', '0 to 1'],
    make: (b) => attend(b, [0, 2]),
  },
  starts_that_decrease: {
    error: ValueError,
    says: ['starts[0, 2] is 0 after 1'],
    make: (b) => attend(b, [0, 1, 0]),
  },
  an_unknown_option: {
    error: ValueError,
    says: ["rmsNorm: unknown option 'eps'"],
    make: (b) => b.rmsNorm(b.zeros([2, 4]), b.zeros([4]), { eps: 1 } as never),
  },
  a_learning_rate_that_is_not_a_number: {
    error: ValueError,
    says: ['adamw: learningRate'],
    make: (b) => b.adamw([], { learningRate: Number.NaN, step: 1 }),
  },
  a_disposed_tensor: {
    error: DisposedError,
    says: ['mul: a [2] has been disposed'],
    make: (b) => {
      const x = b.zeros([2]);
      x.dispose();
      return b.mul(x, b.zeros([2]));
    },
  },
  reading_a_disposed_tensor: {
    error: DisposedError,
    says: ['data:', 'disposed'],
    make: async (b) => {
      const x = b.zeros([2]);
      x.dispose();
      await x.data();
    },
  },
  a_saved_attention_that_is_disposed: {
    error: DisposedError,
    says: ['attentionGrad: saved has been disposed'],
    make: (b) => {
      const x = q(b, 1, 2, 1, 4);
      const { output, saved } = b.attention(x, x, x);
      saved.dispose();
      return b.attentionGrad(output, saved);
    },
  },
  a_saved_attention_that_is_empty: {
    error: ValueError,
    says: ['attentionGrad', 'save: false'],
    make: (b) => {
      const x = q(b, 1, 2, 1, 4);
      const { output, saved } = b.attention(x, x, x, { save: false });
      return b.attentionGrad(output, saved);
    },
  },
  a_tensor_of_another_backend: {
    error: BackendMismatchError,
    says: ['add: b belongs to'],
    make: (b) => {
      const foreign = oracle().zeros([2]);
      try {
        return b.add(b.zeros([2]), foreign);
      } finally {
        foreign.dispose();
      }
    },
  },
  a_type_that_the_backend_lacks: {
    error: (b) => (missingType(b) === undefined ? DTypeError : UnsupportedError),
    says: ['zeros: '],
    // A backend that has every type is asked for one that nobody has.
    make: (b) => b.zeros([2], missingType(b) ?? ('f8' as DType)),
  },
};

/** Core makes these errors; the tests make sure that a backend gets them, and is whole afterwards. */
export const errors: readonly Case[] = Object.entries(MISTAKES).map(([name, mistake]) => ({
  name: `errors ${name}`,
  op: 'errors',
  direction: 'forward',
  dtype: 'f32',
  lacks: (backend) => lackOf(mistake, backend),
  run: async (backend) => {
    const before = backend.memory();
    const problem = judge(expectedError(mistake, backend), mistake.says, await attempt(backend, mistake));
    if (problem !== null) throw new ConformanceError(`${name}: ${problem}`);
    assertNothingLeft(backend, before);
  },
}));

function lackOf({ needsDecoder, needsSecondType }: Mistake, backend: Backend): string | undefined {
  if (needsSecondType && secondType(backend) === undefined) return `backend '${backend.name}' has one floating type`;
  if (needsDecoder === 'layer') return lacksLayer(backend);
  return needsDecoder === 'decode' ? lacksDecoder(backend) : undefined;
}

async function attempt(backend: Backend, mistake: Mistake): Promise<unknown> {
  try {
    // The scope frees what was made before the mistake; a promise must be let out of it.
    let late: unknown;
    backend.scope(() => {
      late = mistake.make(backend);
    });
    await late;
    return null;
  } catch (error) {
    return error;
  }
}

/** A class is a function too, so it is told apart by what it makes. */
function expectedError({ error }: Mistake, backend: Backend): ErrorType {
  return 'prototype' in error && error.prototype instanceof Error
    ? (error as ErrorType)
    : (error as (backend: Backend) => ErrorType)(backend);
}

function judge(expected: ErrorType, says: readonly string[], error: unknown): string | null {
  if (error === null) return `nothing was thrown; expected ${expected.name}`;
  if (!(error instanceof expected)) return `threw ${error}; expected ${expected.name}`;
  const missing = says.find((part) => !error.message.includes(part));
  return missing === undefined ? null : `the message is "${error.message}"; expected it to say "${missing}"`;
}

/** Of width 8 with two heads of 4, and a cache for 6. */
function layerOf(b: Backend, weights: Partial<DecoderLayerWeights> = {}, dtype: DType = 'f32'): DecoderLayerState {
  const square = b.zeros([8, 8], dtype);
  const norm = b.zeros([8], dtype);
  const attention = { attentionNorm: norm, q: square, k: square, v: square, o: square };
  return {
    weights: { ...attention, mlpNorm: norm, gate: square, up: square, down: square, ...weights },
    keys: b.zeros([1, 6, 2, 4], dtype),
    values: b.zeros([1, 6, 2, 4], dtype),
  };
}

function decodeLayer(b: Backend, changed: Partial<DecoderLayerWeights>, position: number): void {
  const { weights, ...cache } = layerOf(b, changed);
  fusedLayer(b, b.zeros([1, 1, 8]), weights, { ...cache, position, ropeBase: 10000, epsilon: 1e-6 });
}

/** Two steps of a vocabulary of 5. */
function decode(
  b: Backend,
  options: Partial<DecodeOptions>,
  token = 0,
  layers = [layerOf(b)],
  head = b.zeros([5, 8]),
): Promise<Int32Array> {
  const decoder = { embeddings: b.zeros([5, 8]), layers, norm: b.zeros([8]), head };
  const right = { steps: 2, position: 0, ropeBase: 10000, epsilon: 1e-6, temperature: 0 };
  return decoderOf(b).decode(ids(b, token), decoder, { ...right, ...options });
}

function attend(b: Backend, starts: number[]): unknown {
  const x = q(b, 1, starts.length, 1, 4);
  return b.attention(x, x, x, { starts: b.tensor(Int32Array.from(starts), [1, starts.length]) });
}
