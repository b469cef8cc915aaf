import {
  type DecodeInputs,
  type DecoderKernels,
  type DecoderLayerInputs,
  type DecoderLayerOperands,
  type DecoderLayerSizes,
  type DecoderProblem,
  elementCount,
  learned,
  sampleToken,
} from '@lazy-attention/core';
import { attention } from './attention.ts';
import { embedding } from './embedding.ts';
import { matmul } from './matmul.ts';
import { binary } from './primitives.ts';
import { rmsNorm } from './rms-norm.ts';
import { rope } from './rope.ts';
import { type Buffer, copyInto, type RefTensor, slice } from './storage.ts';
import { swiglu } from './swiglu.ts';

/** Fused decoding as the ops that it is made of, one after the other. */
export const decoder: Required<DecoderKernels<Buffer>> = {
  layer(problem) {
    problem.x.buffer.set(layer(problem));
  },

  decode(problem) {
    const { steps, sizes, vocabulary, tokens } = problem;
    const { batch } = sizes;
    const drawn = new Int32Array(steps * batch);
    let last: RefTensor = tokens;
    for (let step = 0; step < steps; step++) {
      const logits = logitsOf(problem, last, step);
      const next = drawn.subarray(step * batch, (step + 1) * batch);
      for (let b = 0; b < batch; b++) {
        const row = logits.subarray(b * vocabulary, (b + 1) * vocabulary);
        const nan = row.findIndex(Number.isNaN);
        next[b] = nan < 0 ? sampleToken(row, problem, () => problem.uniforms[step * batch + b]) : -1 - nan;
      }
      // What follows a NaN does not matter; the id must be one.
      last = { ...tokens, buffer: next.map((id) => Math.max(id, 0)) };
    }
    return drawn;
  },
};

/** The logits that one token per row leads to; its keys and values are left in the cache. */
function logitsOf(problem: DecodeInputs<Buffer>, tokens: RefTensor, step: number): Buffer {
  const { sizes, embeddings, layers, norm, head, epsilon, position, ropeBase } = problem;
  const { batch, width } = sizes;
  const starts = problem.starts && row(problem.starts, step, batch);
  let x = like(norm, [batch, 1, width], embedding(embeddings, tokens));
  for (const operands of layers) {
    x = { ...x, buffer: layer({ ...operands, sizes, epsilon, ropeBase, position: position + step, starts, x }) };
  }
  const h = like(x, [batch, width], rmsNorm({ ...x, shape: [batch, width] }, norm, epsilon));
  return linear(h, head).buffer;
}

/** starts [steps, B] of one step, as [B, 1]. */
function row(starts: RefTensor, step: number, batch: number): RefTensor {
  const view = { outer: 1, length: starts.shape[0], inner: batch, start: step, count: 1 };
  return like(starts, [batch, 1], slice(starts, view));
}

/**
 * With a = attention over the cache,
 *   x += o(a(rope(q(norm(x))), rope(k(norm(x))), v(norm(x)))),   x += down(swiglu(gate(norm(x)), up(norm(x)))).
 */
function layer(problem: DecoderLayerInputs<Buffer>): Buffer {
  const { sizes, epsilon, attentionNorm, mlpNorm, gate, up, down, o } = problem;
  const rows = sizes.batch * sizes.length;
  const x = { ...problem.x, shape: [rows, sizes.width] };
  const attended = linear(attend(problem, like(x, x.shape, rmsNorm(x, attentionNorm, epsilon))), o);
  const x1 = like(x, x.shape, add(x, attended));
  const m = like(x, x.shape, rmsNorm(x1, mlpNorm, epsilon));
  const inner = like(x, [rows, sizes.inner], swiglu(linear(m, gate), linear(m, up)));
  return add(x1, linear(inner, down));
}

/** Attention of the rows h [B L, C] over the cache, which gets their keys and values: [B L, H D]. */
function attend(problem: DecoderLayerInputs<Buffer> & DecoderProblem, h: RefTensor): RefTensor {
  const { sizes, position, keys, values, starts } = problem;
  const { batch, length, capacity, heads, kvHeads, headDim, window } = sizes;
  const q = rotated(problem, split(linear(h, problem.q), sizes, heads));
  const k = rotated(problem, split(linear(h, problem.k), sizes, kvHeads));
  const v = split(linear(h, problem.v), sizes, kvHeads);
  const place = { outer: batch, length: capacity, inner: kvHeads * headDim, start: position, count: length };
  copyInto(keys, k, place);
  copyInto(values, v, place);
  const { output } = attention(
    {
      sizes: {
        batch,
        queryLength: length,
        keyLength: position + length,
        keyCapacity: capacity,
        heads,
        kvHeads,
        headDim,
        window,
      },
      scale: 1 / Math.sqrt(headDim),
      q,
      k: keys,
      v: values,
      ...learned((name) => problem[name]),
      starts,
    },
    false,
  );
  return like(q, [batch * length, heads * headDim], output);
}

function split(x: RefTensor, { batch, length, headDim }: DecoderLayerSizes, heads: number): RefTensor {
  return { ...x, shape: [batch, length, heads, headDim] };
}

function rotated({ ropeBase, position }: DecoderProblem, x: RefTensor): RefTensor {
  if (ropeBase === null) return x;
  return { ...x, buffer: rope(x, { base: ropeBase, offset: position, inverse: false }) };
}

/** x [rows, in] times weight [out, in], transposed. */
function linear(x: RefTensor, weight: DecoderLayerOperands<Buffer>['q']): RefTensor {
  const [m, k] = x.shape;
  const [n] = weight.shape;
  const problem = { batch: 1, m, n, k, transposeA: false, transposeB: true };
  return like(x, [m, n], matmul(x, weight, problem, null));
}

/** A tensor of x's type. */
function like(x: RefTensor, shape: readonly number[], buffer: Buffer): RefTensor {
  if (buffer.length !== elementCount(shape)) throw new Error(`decoder: ${buffer.length} elements for ${shape}`);
  return { buffer, shape, dtype: x.dtype };
}

function add(a: RefTensor, b: RefTensor): Buffer {
  return binary(a, b, 'add', { shape: a.shape, sizes: [elementCount(a.shape)], stridesA: [1], stridesB: [1] });
}
