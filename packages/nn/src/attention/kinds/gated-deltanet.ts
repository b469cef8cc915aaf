import { type Ops, type Shape, statisticsDType, type Tensor } from '@lazy-attention/core';
import { ConfigError } from '../../errors.ts';
import { linear } from '../../layers/linear.ts';
import type { AttentionInputs, ComposedAttention } from '../definition.ts';
import { runningSum, softplus } from '../functions.ts';

/** Tokens that are computed together. */
const CHUNK = 32;

/** What a chunk works with: [B, H, c, D] each, and per token [B, H, c]. */
interface Chunk {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** b_t of the formula. */
  readonly rate: Tensor;
  /** log a_t. */
  readonly decay: Tensor;
  /** Documents of its tokens, [B][c], counted from that of the state which enters (0). */
  readonly documents: readonly (readonly number[])[];
}

/**
 * spec §Attention kinds: Gated DeltaNet (arXiv 2412.06464), S_t = a_t S_(t-1) (I - b_t k_t k_t^T) + b_t v_t k_t^T and o_t = S_t q_t,
 * chunk by chunk. It has no keys to look at: of `starts` it takes where documents begin (a row that starts at itself).
 */
export const gatedDeltaNet: ComposedAttention = {
  name: 'gated-deltanet',
  label: 'Gated DeltaNet',
  description: 'a linear recurrence with decay and delta rule, in place of attention',
  role: 'baseline',
  comparedByDefault: false,
  color: { light: '#5f6b6d', dark: '#b8c4c6' },
  symbol: 'rect',
  rope: false,
  params: ({ numHeads, hiddenSize, slidingWindow }) => {
    if (slidingWindow !== null) {
      throw new ConfigError('attention gated-deltanet has no keys for a slidingWindow to leave out; leave it null');
    }
    return {
      'a_proj.weight': { shape: [numHeads, hiddenSize], init: 'normal' },
      'b_proj.weight': { shape: [numHeads, hiddenSize], init: 'normal' },
      A_log: { shape: [numHeads], init: 0 },
      dt_bias: { shape: [numHeads], init: -3 },
    };
  },
  remembers: ({ numHeads, headDim }) => ({ state: { per: 'sequence', shape: [numHeads, headDim, headDim] } }),
  attend(ops, inputs) {
    const { q, offset, keyLength, config, recall, store } = inputs;
    const dtype = statisticsDType(q.dtype);
    const { rate, decay } = gates(ops, inputs);
    const newTokens = (x: Tensor) => ops.cast(ops.slice(x, 1, offset, keyLength), dtype);
    const [queries, keys, values] = [
      unit(ops, ops.cast(q, dtype)),
      unit(ops, newTokens(inputs.k)),
      newTokens(inputs.v),
    ].map((x) => byHead(ops, x, config.numHeads));
    const documents = documentsOf(inputs);
    const outputs: Tensor[] = [];
    let state = recall('state');
    for (let first = 0; first < q.shape[1]; first += CHUNK) {
      const last = Math.min(first + CHUNK, q.shape[1]);
      const part = (x: Tensor) => ops.slice(x, 2, first, last);
      const entering = documents.map((of) => (first === 0 ? 0 : of[first - 1]));
      const { output, next } = chunk(ops, state, {
        q: part(queries),
        k: part(keys),
        v: part(values),
        rate: part(rate),
        decay: part(decay),
        documents: documents.map((of, b) => of.slice(first, last).map((document) => document - entering[b])),
      });
      outputs.push(output);
      state = next;
    }
    store('state', state);
    const joined = outputs.length === 1 ? outputs[0] : ops.concat(outputs, 2);
    return ops.cast(ops.permute(joined, [0, 2, 1, 3]), q.dtype);
  },
};

/** b = sigmoid(x w_b) and log a = -exp(A) softplus(x w_a + c), each [B, H, L]. */
function gates(ops: Ops, { x, params }: AttentionInputs): { rate: Tensor; decay: Tensor } {
  const dtype = statisticsDType(x.dtype);
  const [A, c] = [ops.cast(params.A_log, dtype), ops.cast(params.dt_bias, dtype)];
  const step = softplus(ops, ops.binary('add', ops.cast(linear(ops, x, params['a_proj.weight']), dtype), c));
  const decay = ops.unary('neg', ops.binary('mul', ops.unary('exp', A), step));
  const rate = ops.unary('sigmoid', ops.cast(linear(ops, x, params['b_proj.weight']), dtype));
  return { rate: ops.permute(rate, [0, 2, 1]), decay: ops.permute(decay, [0, 2, 1]) };
}

/** x of unit length over the last axis. */
function unit(ops: Ops, x: Tensor): Tensor {
  const D = x.shape[x.shape.length - 1];
  return ops.rmsNorm(x, x.backend.full([D], 1 / Math.sqrt(D), x.dtype));
}

/** [B, L, heads, D] as [B, H, L, D], key/value heads repeated for their query heads. */
function byHead(ops: Ops, x: Tensor, numHeads: number): Tensor {
  const [batch, length, heads, D] = x.shape;
  const split = ops.reshape(ops.permute(x, [0, 2, 1, 3]), [batch, heads, 1, length, D]);
  const repeated = ops.broadcast(split, [batch, heads, numHeads / heads, length, D]);
  return ops.reshape(repeated, [batch, numHeads, length, D]);
}

/** Which document each row is of, counting from the one before the first row: a row that starts at itself begins a new one. */
function documentsOf({ q, starts, offset }: AttentionInputs): readonly (readonly number[])[] {
  const [batch, length] = q.shape;
  const given = starts?.indexValues();
  return Array.from({ length: batch }, (_, b) => {
    let document = 0;
    return Array.from({ length }, (_, i) => {
      if (given != null && offset + i > 0 && given[b * length + i] === offset + i) document++;
      return document;
    });
  });
}

/**
 * With g_i the running sum of log a and u_i = b_i (v_i - a_i S_(i-1) k_i): S_i = e^g_i S + sum_(j<=i) e^(g_i - g_j) u_j k_j^T, so
 *   (I + A) U = diag(b) (V - diag(e^g) K S^T),   A_ij = b_i e^(g_i - g_j) k_i.k_j for j < i,
 *   O = diag(e^g) Q S^T + ([j <= i] e^(g_i - g_j) q_i.k_j) U.
 * Factors between tokens of different documents are 0.
 */
function chunk(ops: Ops, state: Tensor, { q, k, v, rate, decay, documents }: Chunk): { output: Tensor; next: Tensor } {
  const [batch, heads, c] = q.shape;
  const { backend, dtype } = q;
  const constant = (shape: Shape, of: (b: number, i: number, j: number) => boolean) => {
    const [B, , rows, columns] = shape;
    const values = Float64Array.from({ length: B * rows * columns }, (_, n) =>
      of(Math.floor(n / (rows * columns)), Math.floor(n / columns) % rows, n % columns) ? 1 : 0,
    );
    return backend.tensor(values, shape, dtype);
  };
  const mul = (a: Tensor, b: Tensor) => ops.binary('mul', a, b);
  const column = (x: Tensor) => ops.reshape(x, [batch, heads, c, 1]);
  const sums = runningSum(ops, decay);
  const [row, col] = [column(sums), ops.reshape(sums, [batch, heads, 1, c])];
  const never = backend.full([], Number.NEGATIVE_INFINITY, dtype);
  const together = constant([batch, 1, c, c], (b, i, j) => j <= i && documents[b][i] === documents[b][j]);
  const between = ops.unary('exp', ops.where(together, ops.binary('sub', row, col), never));
  const carries = constant([batch, 1, c, 1], (b, i) => documents[b][i] === 0);
  const carried = mul(ops.unary('exp', row), carries);

  const strictly = constant([1, 1, c, c], (_, i, j) => j < i);
  const A = mul(mul(mul(ops.matmul(k, k, { transposeB: true }), between), column(rate)), strictly);
  const fromState = mul(ops.matmul(k, state, { transposeB: true }), carried);
  const u = ops.matmul(inverse(ops, A), mul(ops.binary('sub', v, fromState), column(rate)));
  const within = mul(ops.matmul(q, k, { transposeB: true }), between);
  const output = ops.binary('add', mul(ops.matmul(q, state, { transposeB: true }), carried), ops.matmul(within, u));

  const toEnd = ops.reshape(ops.slice(between, 2, c - 1, c), [batch, heads, c, 1]);
  const added = ops.matmul(mul(u, toEnd), k, { transposeA: true });
  return { output, next: ops.binary('add', mul(state, ops.slice(carried, 2, c - 1, c)), added) };
}

/**
 * (I + A)^-1 of a strictly lower triangular A, [..., c, c]. With X the inverse of its diagonal blocks of size s, that of the blocks
 * of size 2 s is X - X R X, R what A has between the halves of each: log2(c) steps, and no powers of A, which would lose digits.
 */
function inverse(ops: Ops, A: Tensor): Tensor {
  const c = A.shape[A.shape.length - 1];
  const table = (of: (i: number, j: number) => boolean) =>
    A.backend.tensor(
      Float64Array.from({ length: c * c }, (_, n) => (of(Math.floor(n / c), n % c) ? 1 : 0)),
      [c, c],
      A.dtype,
    );
  let X = ops.broadcast(
    table((i, j) => i === j),
    A.shape,
  );
  for (let s = 1; s < c; s *= 2) {
    const half = (i: number) => Math.floor(i / s);
    const between = table((i, j) => half(i) % 2 === 1 && half(j) === half(i) - 1);
    X = ops.binary('sub', X, ops.matmul(ops.matmul(X, ops.binary('mul', A, between)), X));
  }
  return X;
}
