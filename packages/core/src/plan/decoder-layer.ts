import { checkFloat, checkOwned, checkShapeIs } from '../checks.ts';
import { ShapeError, ValueError } from '../errors.ts';
import type { DecoderLayerSizes } from '../kernels.ts';
import type { DecoderLayerOptions, DecoderLayerWeights } from '../ops.ts';
import { checkOptions, checkPositive, formatShape } from '../shape.ts';
import type { TensorStore } from '../store.ts';
import type { Tensor } from '../tensor.ts';
import { checkFourAxes, checkStarts, checkTau, planBias } from './attention.ts';

const OP = 'decoderLayer';
const NAMES = ['x', 'keys', 'values', 'attentionNorm', 'q', 'k', 'v', 'o', 'mlpNorm', 'gate', 'up', 'down'] as const;

/** Checks a fused decoder layer and returns its sizes. */
export function planDecoderLayer(
  backend: TensorStore,
  x: Tensor,
  weights: DecoderLayerWeights,
  options: DecoderLayerOptions,
): DecoderLayerSizes {
  checkOptions(OP, options, ['keys', 'values', 'position', 'bias', 'tau', 'starts', 'ropeBase', 'epsilon']);
  const { keys, values, position, bias, tau, starts, ropeBase, epsilon } = options;
  const { attentionNorm, q, k, v, o, mlpNorm, gate, up, down } = weights;
  checkFloat(backend, OP, NAMES, [x, keys, values, attentionNorm, q, k, v, o, mlpNorm, gate, up, down]);
  checkFourAxes(OP, 'keys', keys.shape, '[B, S, Hkv, D]');
  checkShapeIs(OP, 'values', values, keys.shape);
  const [batch, capacity, kvHeads, headDim] = keys.shape;
  if (x.shape.length !== 3 || x.shape[0] !== batch) {
    throw new ShapeError(
      `${OP}: x has shape ${formatShape(x.shape)}; expected [B, L, C] with B = ${batch}, as keys have`,
    );
  }
  const [, length, width] = x.shape;
  const heads = q.shape[0] / headDim;
  const inner = gate.shape[0];
  if (!Number.isInteger(heads / kvHeads) || headDim % 4 !== 0 || headDim > 256) {
    throw new ValueError(
      `${OP}: q has shape ${formatShape(q.shape)} and keys ${formatShape(keys.shape)}; rows of q must be a multiple of Hkv * D, and D of 4, at most 256`,
    );
  }
  checkShapeIs(OP, 'attentionNorm', attentionNorm, [width]);
  checkShapeIs(OP, 'q', q, [heads * headDim, width]);
  checkShapeIs(OP, 'k', k, [kvHeads * headDim, width]);
  checkShapeIs(OP, 'v', v, [kvHeads * headDim, width]);
  checkShapeIs(OP, 'o', o, [width, heads * headDim]);
  checkShapeIs(OP, 'mlpNorm', mlpNorm, [width]);
  checkShapeIs(OP, 'gate', gate, [inner, width]);
  checkShapeIs(OP, 'up', up, [inner, width]);
  checkShapeIs(OP, 'down', down, [width, inner]);
  if (!Number.isInteger(position) || position < 0 || position + length > capacity) {
    throw new ValueError(
      `${OP}: position is ${position}; ${length} tokens behind it must fit the cache, which has room for ${capacity}`,
    );
  }
  if (ropeBase !== null) {
    checkPositive(OP, 'ropeBase', ropeBase);
    if (headDim % 2 !== 0) throw new ValueError(`${OP}: head size (${headDim}) must be even to be rotated`);
  }
  checkPositive(OP, 'epsilon', epsilon);
  for (const other of [keys, values, ...Object.values(weights)]) {
    if (other.storage === x.storage) throw new ValueError(`${OP}: x shares memory with another operand; copy it first`);
  }
  if (bias !== undefined) checkOwned(backend, OP, 'bias', bias);
  if (tau !== undefined) {
    checkOwned(backend, OP, 'tau', tau);
    checkTau(OP, tau, heads, x);
  }
  if (starts !== undefined) {
    checkOwned(backend, OP, 'starts', starts);
    checkStarts(OP, starts, batch, length, position + length);
  }
  const window = bias === undefined ? 0 : planBias(OP, bias, heads, x);
  return { batch, length, width, capacity, heads, kvHeads, headDim, inner, window };
}
