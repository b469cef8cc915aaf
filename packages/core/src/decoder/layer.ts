import { checkFloat, checkFourAxes, checkOwned, checkShapeIs, checkWeight } from '../checks.ts';
import { LEARNED_NAMES, learned } from '../contract/attention.ts';
import type { DecoderLayerInputs, DecoderLayerOperands, DecoderLayerSizes } from '../contract/decoder.ts';
import { ShapeError, ValueError } from '../errors.ts';
import { kernelTensor, optionalTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Storage, Tensor } from '../lifetimes/tensor.ts';
import { checkLearnedOwned, checkStarts, planLearned } from '../ops/attention.ts';
import { checkObject, checkOptions, checkPositive, formatShape } from '../shape.ts';
import type { DecoderLayerOptions, DecoderLayerState, DecoderLayerWeights } from './types.ts';

const OP = 'decoder.layer';
const NAMES = ['keys', 'values', 'attentionNorm', 'mlpNorm'] as const;
const MATRICES = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;

/** Checks `Decoder.layer`, and says what it writes in place. */
export function planDecoderLayer(
  backend: TensorStore,
  x: Tensor,
  weights: DecoderLayerWeights,
  options: DecoderLayerOptions,
): { problem: DecoderLayerInputs; written: readonly Storage[] } {
  checkOptions(OP, options, ['keys', 'values', 'position', ...LEARNED_NAMES, 'starts', 'ropeBase', 'epsilon']);
  const { position, starts, ropeBase, epsilon, ...state } = options;
  const layer = readLayer(OP, '', { weights, ...state });
  const { keys, values } = layer;
  checkOwned(backend, OP, 'x', x);
  if (x.shape.length !== 3) {
    throw new ShapeError(`${OP}: x has shape ${formatShape(x.shape)}; expected [B, L, C]`);
  }
  const [batch, length, width] = x.shape;
  checkFloat(backend, OP, ['x', 'keys'], [x, keys]);
  const sizes = planLayer(backend, OP, layer, { batch, length, width, position });
  checkDecoderNumbers(OP, sizes, ropeBase, epsilon);
  for (const other of [keys, values, ...Object.values(layer.weights)]) {
    if (other.storage === x.storage) throw new ValueError(`${OP}: x shares memory with another operand; copy it first`);
  }
  if (starts !== undefined) {
    checkOwned(backend, OP, 'starts', starts);
    checkStarts(OP, starts, batch, length, position + length);
  }
  const cached = { ...operandsOf(layer), sizes, position, ropeBase, epsilon };
  return {
    problem: { ...cached, x: kernelTensor(x), starts: optionalTensor(starts) },
    written: [x.storage, keys.storage, values.storage],
  };
}

/** A copy, read once: what is checked is what is used. `name` is the layer's place among others, '' where it is the only one. */
export function readLayer(op: string, name: string, layer: DecoderLayerState): DecoderLayerState {
  if (name !== '') checkObject(op, name, layer);
  const { weights, keys, values, ...given } = layer;
  checkObject(op, name === '' ? 'weights' : `${name}.weights`, weights);
  const { attentionNorm, q, k, v, o, mlpNorm, gate, up, down } = weights;
  const own = { attentionNorm, q, k, v, o, mlpNorm, gate, up, down };
  return { weights: own, keys, values, ...learned((name) => given[name]) };
}

/** Checks a layer for `length` tokens behind the `position` that its cache holds, whose type all else has; matrices may be packed. */
export function planLayer(
  backend: TensorStore,
  op: string,
  layer: DecoderLayerState,
  { batch, length, width, position }: { batch: number; length: number; width: number; position: number },
): DecoderLayerSizes {
  const { weights, keys, values } = layer;
  const { attentionNorm, q, k, v, o, mlpNorm, gate, up, down } = weights;
  checkFloat(backend, op, NAMES, [keys, values, attentionNorm, mlpNorm]);
  for (const name of MATRICES) checkWeight(backend, op, name, weights[name], keys.dtype);
  checkFourAxes(op, 'keys', keys.shape, '[B, S, Hkv, D]');
  checkShapeIs(op, 'values', values, keys.shape);
  const [cacheBatch, capacity, kvHeads, headDim] = keys.shape;
  if (cacheBatch !== batch) {
    throw new ShapeError(`${op}: keys has shape ${formatShape(keys.shape)}; expected B = ${batch}, as the tokens have`);
  }
  const heads = q.shape[0] / headDim;
  const inner = gate.shape[0];
  if (!Number.isInteger(heads / kvHeads) || headDim % 4 !== 0 || headDim > 256) {
    throw new ValueError(
      `${op}: q has shape ${formatShape(q.shape)} and keys ${formatShape(keys.shape)}; rows of q must be a multiple of Hkv * D, and D of 4, at most 256`,
    );
  }
  checkShapeIs(op, 'attentionNorm', attentionNorm, [width]);
  checkShapeIs(op, 'q', q, [heads * headDim, width]);
  checkShapeIs(op, 'k', k, [kvHeads * headDim, width]);
  checkShapeIs(op, 'v', v, [kvHeads * headDim, width]);
  checkShapeIs(op, 'o', o, [width, heads * headDim]);
  checkShapeIs(op, 'mlpNorm', mlpNorm, [width]);
  checkShapeIs(op, 'gate', gate, [inner, width]);
  checkShapeIs(op, 'up', up, [inner, width]);
  checkShapeIs(op, 'down', down, [width, inner]);
  if (!Number.isInteger(position) || position < 0 || position + length > capacity) {
    throw new ValueError(
      `${op}: position is ${position}; ${length} tokens behind it must fit the cache, which has room for ${capacity}`,
    );
  }
  if (keys.storage === values.storage) throw new ValueError(`${op}: keys and values share memory; copy one first`);
  checkLearnedOwned(backend, op, layer);
  const window = planLearned(op, layer, heads, keys);
  return { batch, length, width, capacity, heads, kvHeads, headDim, inner, window };
}

/** What layers and decoding are told in numbers. */
export function checkDecoderNumbers(
  op: string,
  { headDim }: DecoderLayerSizes,
  ropeBase: number | null,
  epsilon: number,
): void {
  if (ropeBase !== null) {
    checkPositive(op, 'ropeBase', ropeBase);
    if (headDim % 2 !== 0) throw new ValueError(`${op}: head size (${headDim}) must be even to be rotated`);
  }
  checkPositive(op, 'epsilon', epsilon);
}

/** As kernels take a layer. */
export function operandsOf({ weights, keys, values, ...given }: DecoderLayerState): DecoderLayerOperands {
  return {
    keys: kernelTensor(keys),
    values: kernelTensor(values),
    ...learned((name) => optionalTensor(given[name])),
    attentionNorm: kernelTensor(weights.attentionNorm),
    q: kernelTensor(weights.q),
    k: kernelTensor(weights.k),
    v: kernelTensor(weights.v),
    o: kernelTensor(weights.o),
    mlpNorm: kernelTensor(weights.mlpNorm),
    gate: kernelTensor(weights.gate),
    up: kernelTensor(weights.up),
    down: kernelTensor(weights.down),
  };
}
