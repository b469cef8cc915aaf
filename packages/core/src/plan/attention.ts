import { statisticsDType } from '../dtype.ts';
import { DTypeError, ShapeError, ValueError } from '../errors.ts';
import type { AttentionSizes } from '../kernels.ts';
import type { AttentionOptions } from '../ops.ts';
import { checkFinite, checkInteger, formatShape, type Shape, sameShape } from '../shape.ts';
import type { Tensor } from '../tensor.ts';

export const MAX_HEAD_DIM = 256;

/** Checks what spec §Shapes and symbols asks of q, k and v and returns the sizes. Window is filled in by the bias. */
export function planAttention(
  op: string,
  q: Tensor,
  k: Tensor,
  v: Tensor | null,
  options: AttentionOptions,
): { sizes: AttentionSizes; scale: number } {
  checkFourAxes(op, 'q', q.shape, '[B, L, H, D]');
  checkFourAxes(op, 'k', k.shape, '[B, S, Hkv, D]');
  const [batch, queryLength, heads, headDim] = q.shape;
  const [kBatch, keyCapacity, kvHeads, kDim] = k.shape;
  if (kBatch !== batch) mismatch(op, 'k', k.shape, `batch must be that of q (${batch})`);
  if (kDim !== headDim) mismatch(op, 'k', k.shape, `head size must be that of q (${headDim})`);
  if (heads % kvHeads !== 0) {
    mismatch(op, 'k', k.shape, `query heads (${heads}) must be a multiple of key/value heads (${kvHeads})`);
  }
  if (headDim % 4 !== 0 || headDim > MAX_HEAD_DIM) {
    mismatch(op, 'q', q.shape, `head size (${headDim}) must be a multiple of 4, at most ${MAX_HEAD_DIM}`);
  }
  if (v !== null && !sameShape(v.shape, k.shape)) {
    mismatch(op, 'v', v.shape, `must have the shape of k, ${formatShape(k.shape)}`);
  }
  const keyLength = options.keyLength ?? keyCapacity;
  checkInteger(op, 'keyLength', keyLength, 1, keyCapacity);
  if (queryLength > keyLength) {
    mismatch(op, 'q', q.shape, `queries (${queryLength}) are the last of the keys, so at most ${keyLength}`);
  }
  if (keyLength < keyCapacity && v !== null && options.save !== false) {
    throw new ValueError(
      `${op}: keyLength is ${keyLength} of ${keyCapacity}; a partly filled cache cannot be differentiated; pass save: false, or slice k and v`,
    );
  }
  const window = options.bias === undefined ? 0 : planBias(op, options.bias, heads, q);
  if (options.tau !== undefined) checkTau(op, options.tau, heads, q);
  if (options.starts !== undefined) checkStarts(op, options.starts, batch, queryLength, keyLength);
  const scale = options.scale ?? 1 / Math.sqrt(headDim);
  checkFinite(op, 'scale', scale);
  return { sizes: { batch, queryLength, keyLength, keyCapacity, heads, kvHeads, headDim, window }, scale };
}

export function planBias(op: string, bias: Tensor, heads: number, like: Tensor): number {
  checkStatistics(op, 'bias', bias, like);
  if (bias.shape.length !== 2 || bias.shape[0] !== heads) {
    mismatch(op, 'bias', bias.shape, `expected [H, W] with H = ${heads}`);
  }
  return bias.shape[1];
}

export function checkTau(op: string, tau: Tensor, heads: number, like: Tensor): void {
  checkStatistics(op, 'tau', tau, like);
  if (!sameShape(tau.shape, [heads])) mismatch(op, 'tau', tau.shape, `expected [H] = [${heads}]`);
}

/** 0 <= starts[b, r] <= r + S - L, and a window never moves back. */
export function checkStarts(op: string, starts: Tensor, batch: number, queryLength: number, keyLength: number): void {
  if (starts.dtype !== 'i32') throw new DTypeError(`${op}: starts is ${starts.dtype}; expected i32`);
  if (!sameShape(starts.shape, [batch, queryLength])) {
    mismatch(op, 'starts', starts.shape, `expected [B, L] = [${batch}, ${queryLength}]`);
  }
  const values = starts.storage.indices as Int32Array;
  const offset = keyLength - queryLength;
  for (let b = 0; b < batch; b++) {
    let previous = 0;
    for (let r = 0; r < queryLength; r++) {
      const start = values[b * queryLength + r];
      if (start < 0 || start > r + offset) {
        throw new ValueError(
          `${op}: starts[${b}, ${r}] is ${start}; row ${r} is position ${r + offset}, so expected 0 to ${r + offset}`,
        );
      }
      if (start < previous) {
        throw new ValueError(`${op}: starts[${b}, ${r}] is ${start} after ${previous}; starts must not decrease`);
      }
      previous = start;
    }
  }
}

function checkStatistics(op: string, name: string, x: Tensor, like: Tensor): void {
  const expected = statisticsDType(like.dtype);
  if (x.dtype !== expected) {
    throw new DTypeError(`${op}: ${name} is ${x.dtype}; expected ${expected} beside ${like.dtype} operands`);
  }
}

export function checkFourAxes(op: string, name: string, shape: Shape, expected: string): void {
  if (shape.length !== 4) throw new ShapeError(`${op}: ${name} has shape ${formatShape(shape)}; expected ${expected}`);
}

function mismatch(op: string, name: string, shape: Shape, rule: string): never {
  throw new ShapeError(`${op}: ${name} has shape ${formatShape(shape)}; ${rule}`);
}
