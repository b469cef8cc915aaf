import { LEARNED_NAMES, type LearnedInput, ValueError } from '@lazy-attention/core';
import {
  type AttentionConfig,
  alibiSlopes,
  attentionKind,
  type FusedAttention,
  isFused,
  type LazyTransformerConfig,
  ropeFrequencies,
} from '@lazy-attention/nn';
import type { GraphBuilder } from './graph.ts';

/** Far below any score, so that its exponential is exactly 0; finite, so that no inf - inf can arise. */
const MASKED = -1e30;

/** Reads a parameter [rows, columns] or [size] of the model. */
export type ReadWeight = (name: string) => Promise<Float32Array>;

/** Parameters of the model as constants of the graph. */
export interface Weights {
  /** As stored. */
  plain(name: string, dims: readonly number[]): string;
  /** A Linear weight, stored [out, in], as the right operand [in, out]. */
  linear(name: string, inputs: number, outputs: number): string;
}

export function graphWeights(g: GraphBuilder, read: ReadWeight): Weights {
  return {
    plain: (name, dims) => g.weight(name, dims, () => read(name)),
    linear: (name, inputs, outputs) =>
      g.weight(`${name}.T`, [inputs, outputs], async () => transposed(await read(name), outputs, inputs)),
  };
}

/** What all layers share about the positions of this call. */
export interface Positions {
  /** [L, S] relative distances i - j as floats. */
  readonly distance: string;
  /** [B or 1, 1, L, S] bool: starts <= j <= i. */
  readonly attended: string;
  /** [B or 1, 1, L, 1] n_i, the number of attended keys. */
  readonly count: string;
  /** [L, D/2] each; null without RoPE. */
  readonly rotation: { readonly cosines: string; readonly sines: string } | null;
  /** [L, S] int32 columns of the bias table; null without one. */
  readonly biasColumns: string | null;
}

/**
 * spec §Shapes and symbols: queries are the last L of the S keys. `lengthOf` is a value whose axis 1 is L, `past` one whose axis 2 is
 * S - L. Positions are slices of constant tables, since cosines of large angles are not accurate on every device; the
 * tables end at `maxLength`.
 */
export function positions(
  g: GraphBuilder,
  config: AttentionConfig,
  maxLength: number,
  lengthOf: string,
  past: string,
  starts: string | null,
): Positions {
  return g.scope('positions', () => {
    const size = (value: string, axis: number) => g.node('Gather', [g.node('Shape', [value]), g.ints(axis)]);
    const first = size(past, 2);
    const end = g.node('Add', [first, size(lengthOf, 1)]);
    const table = g.floats('table/positions', [maxLength], () => Float32Array.from({ length: maxLength }, (_, i) => i));
    const rows = (values: string) => g.node('Slice', [values, first, end, g.ints(0)]);
    const key = g.node('Slice', [table, g.ints(0), end, g.ints(0)]);
    const query = g.node('Unsqueeze', [rows(table), g.ints(1)]);
    const distance = g.node('Sub', [query, key]);
    const causal = g.node('GreaterOrEqual', [distance, g.scalar(0)]);
    let attended = g.node('Unsqueeze', [causal, g.ints(0, 1)]);
    let count = g.node('Unsqueeze', [g.node('Add', [query, g.scalar(1)]), g.ints(0, 1)]);
    const from = firstKeys(g, config.slidingWindow, query, starts);
    if (from !== null) {
      attended = g.node('And', [attended, g.node('GreaterOrEqual', [key, from])]);
      count = g.node('Sub', [count, from]);
    }
    const kind = exportedKind(config);
    return {
      distance,
      attended,
      count,
      rotation: kind.rope ? rotation(g, config, maxLength, rows) : null,
      biasColumns: kind.fused.bias === 'learned' ? biasColumns(g, distance, config.window) : null,
    };
  });
}

const FLOAT = 1;
const INT32 = 6;

/** First key of each row, [B or 1, 1, L, 1]; null where all rows begin at 0. */
function firstKeys(g: GraphBuilder, window: number | null, query: string, starts: string | null): string | null {
  const given = starts === null ? null : g.node('Unsqueeze', [g.node('Cast', [starts], { to: FLOAT }), g.ints(1, 3)]);
  if (window === null) return given;
  const sliding = g.node('Unsqueeze', [g.node('Sub', [query, g.scalar(window - 1)]), g.ints(0, 1)]);
  return g.node('Max', [sliding, given ?? g.scalar(0)]);
}

/** spec §RoPE and §RoPE scaling: angle = position * base^(-2d/D), in double precision here. */
function rotation(g: GraphBuilder, config: AttentionConfig, maxLength: number, rows: (table: string) => string) {
  const half = config.headDim / 2;
  const { perPosition, factor } = ropeFrequencies(config, maxLength);
  const table = (of: (angle: number) => number) => () =>
    Float32Array.from(
      { length: maxLength * half },
      (_, i) => factor * of(Math.floor(i / half) * perPosition[i % half]),
    );
  return {
    cosines: rows(g.floats('table/cosines', [maxLength, half], table(Math.cos))),
    sines: rows(g.floats('table/sines', [maxLength, half], table(Math.sin))),
  };
}

/** Distance d < W is column d of the bias table; any farther is column W, which is zero. Keys of the future are masked. */
function biasColumns(g: GraphBuilder, distance: string, window: number): string {
  return g.node('Cast', [g.node('Clip', [distance, g.scalar(0), g.scalar(window)])], { to: INT32 });
}

export interface AttentionParts {
  /** [B, L, C] */
  readonly output: string;
  /** [B, Hkv, S, D] */
  readonly key: string;
  readonly value: string;
}

/** Projections, RoPE and spec §Forward on x [B, L, C]; past keys and values are [B, Hkv, S - L, D]. */
export function attention(
  g: GraphBuilder,
  config: AttentionConfig,
  weights: Weights,
  prefix: string,
  x: string,
  past: { readonly key: string; readonly value: string },
  at: Positions,
): AttentionParts {
  const { hiddenSize, numHeads, numKvHeads, headDim } = config;
  return g.scope('attention', () => {
    /** [B, heads, L, D] */
    const project = (name: 'q' | 'k' | 'v', heads: number) => {
      const withBias = config.attentionBias !== null;
      const flat = linear(g, weights, x, `${prefix}${name}_proj`, hiddenSize, heads * headDim, withBias);
      const split = g.node('Reshape', [flat, g.ints(0, 0, heads, headDim)]);
      const normed =
        config.qkNorm && name !== 'v'
          ? rmsNorm(g, split, weights.plain(`${prefix}${name}_norm.weight`, [headDim]), headDim, config.normEpsilon)
          : split;
      return g.node('Transpose', [normed], { perm: [0, 2, 1, 3] });
    };
    const rotate = (y: string) => (at.rotation === null ? y : rotated(g, y, headDim, at.rotation));
    const query = g.node('Mul', [rotate(project('q', numHeads)), g.scalar(1 / Math.sqrt(headDim))]);
    const key = g.node('Concat', [past.key, rotate(project('k', numKvHeads))], { axis: 2 });
    const value = g.node('Concat', [past.value, project('v', numKvHeads)], { axis: 2 });

    // Query heads that share a key/value head are stacked, [B, Hkv, H / Hkv * L, D], so no key is repeated.
    const grouped = numHeads === numKvHeads ? query : g.node('Reshape', [query, g.ints(0, numKvHeads, -1, headDim)]);
    const perHead = (y: string) => (numHeads === numKvHeads ? y : g.node('Reshape', [y, g.ints(0, numHeads, -1, 0)]));
    const products = perHead(g.node('MatMul', [grouped, g.node('Transpose', [key], { perm: [0, 1, 3, 2] })]));
    const scores = g.node('Where', [at.attended, biased(g, config, weights, prefix, products, at), g.scalar(MASKED)]);
    const elastic = elasticWeights(g, config, weights, prefix, softmax(g, config, weights, prefix, scores), at);

    const groupedWeights =
      numHeads === numKvHeads ? elastic : g.node('Reshape', [elastic, g.ints(0, numKvHeads, -1, 0)]);
    const mixed = perHead(g.node('MatMul', [groupedWeights, value]));
    const joined = g.node('Reshape', [
      g.node('Transpose', [mixed], { perm: [0, 2, 1, 3] }),
      g.ints(0, 0, numHeads * headDim),
    ]);
    const withBias = config.attentionBias === 'qkvo';
    const output = linear(g, weights, joined, `${prefix}o_proj`, numHeads * headDim, hiddenSize, withBias);
    return { output, key, value };
  });
}

/** x W^T, plus the bias where there is one. `name` is that of the parameters without `.weight`. */
function linear(
  g: GraphBuilder,
  weights: Weights,
  x: string,
  name: string,
  inputs: number,
  outputs: number,
  biased: boolean,
): string {
  const y = g.node('MatMul', [x, weights.linear(`${name}.weight`, inputs, outputs)]);
  return biased ? g.node('Add', [y, weights.plain(`${name}.bias`, [outputs])]) : y;
}

/** The pairs (x[d], x[d + D/2]) rotated. */
function rotated(g: GraphBuilder, x: string, headDim: number, { cosines, sines }: { cosines: string; sines: string }) {
  const half = headDim / 2;
  const [low, high] = g.nodes('Split', [x, g.ints(half, half)], 2, { axis: 3 });
  const product = (a: string, b: string) => g.node('Mul', [a, b]);
  const first = g.node('Sub', [product(low, cosines), product(high, sines)]);
  const second = g.node('Add', [product(high, cosines), product(low, sines)]);
  return g.node('Concat', [first, second], { axis: 3 });
}

function biased(
  g: GraphBuilder,
  config: AttentionConfig,
  weights: Weights,
  prefix: string,
  scores: string,
  at: Positions,
): string {
  const { numHeads, window } = config;
  if (exportedKind(config).fused.bias === 'alibi') {
    const slopes = g.floats('table/slopes', [numHeads, 1, 1], () =>
      Float32Array.from(alibiSlopes(numHeads), (s) => -s),
    );
    return g.node('Add', [scores, g.node('Mul', [slopes, at.distance])]);
  }
  if (at.biasColumns === null) return scores;
  const table = weights.plain(`${prefix}bias`, [numHeads, window]);
  const zero = g.floats('table/no_bias', [numHeads, 1], () => new Float32Array(numHeads));
  const padded = g.node('Concat', [table, zero], { axis: 1 });
  return g.node('Add', [scores, g.node('Gather', [padded, at.biasColumns], { axis: 1 })]);
}

/** p over the keys: beside a sink logit (spec §Sink logit) where the kind has one, as a column that is taken off again. */
function softmax(g: GraphBuilder, config: AttentionConfig, weights: Weights, prefix: string, scores: string): string {
  const { sink } = exportedKind(config).fused;
  const { numHeads } = config;
  if (sink === undefined || sink === null) return g.node('Softmax', [scores], { axis: -1 });
  const logits =
    sink === 'learned'
      ? weights.plain(`${prefix}sink`, [numHeads])
      : g.floats('table/no_sink', [numHeads], () => new Float32Array(numHeads));
  const column = g.node('Reshape', [logits, g.ints(1, numHeads, 1, 1)]);
  const first = g.node('Slice', [scores, g.ints(0), g.ints(1), g.ints(3)]);
  // Masked scores are finite, so this is a column of zeros.
  const zeros = g.node('Mul', [first, g.scalar(0)]);
  const all = g.node('Softmax', [g.node('Concat', [scores, g.node('Add', [zeros, column])], { axis: 3 })], {
    axis: -1,
  });
  return g.node('Slice', [all, g.ints(0), g.ints(-1), g.ints(3)]);
}

/** w = max(p + tau / n, 0), and 0 where a key is not attended, also when tau > 0. */
function elasticWeights(
  g: GraphBuilder,
  config: AttentionConfig,
  weights: Weights,
  prefix: string,
  probabilities: string,
  at: Positions,
): string {
  if (exportedKind(config).fused.tau === null) return probabilities;
  const tau = g.node('Reshape', [weights.plain(`${prefix}tau`, [config.numHeads]), g.ints(1, config.numHeads, 1, 1)]);
  const lifted = g.node('Relu', [g.node('Add', [probabilities, g.node('Div', [tau, at.count])])]);
  return g.node('Where', [at.attended, lifted, g.scalar(0)]);
}

/** x / sqrt(mean(x^2) + epsilon) * weight over the last axis. */
export function rmsNorm(g: GraphBuilder, x: string, weight: string, size: number, epsilon: number): string {
  return g.scope('norm', () => {
    const squares = g.node('ReduceSum', [g.node('Mul', [x, x]), g.ints(-1)], { keepdims: 1 });
    const mean = g.node('Add', [g.node('Mul', [squares, g.scalar(1 / size)]), g.scalar(epsilon)]);
    return g.node('Mul', [g.node('Div', [x, g.node('Sqrt', [mean])]), weight]);
  });
}

/** down(gate(x) sigmoid(gate(x)) up(x)). */
export function mlp(
  g: GraphBuilder,
  x: string,
  weights: Weights,
  prefix: string,
  { hiddenSize, intermediateSize, mlpBias }: Pick<LazyTransformerConfig, 'hiddenSize' | 'intermediateSize' | 'mlpBias'>,
): string {
  return g.scope('mlp', () => {
    const inner = (name: string) => linear(g, weights, x, `${prefix}${name}`, hiddenSize, intermediateSize, mlpBias);
    const gate = inner('gate_proj');
    const activated = g.node('Mul', [g.node('Mul', [gate, g.node('Sigmoid', [gate])]), inner('up_proj')]);
    return linear(g, weights, activated, `${prefix}down_proj`, intermediateSize, hiddenSize, mlpBias);
  });
}

/** The learned inputs that graphs have. */
const EXPORTED: readonly LearnedInput[] = ['bias', 'tau', 'sink'];

/** The kind of attention, which must be one that the op `attention` computes. @throws ValueError */
export function exportedKind(config: AttentionConfig): FusedAttention {
  const { attention } = config;
  const kind = attentionKind(attention);
  if (isFused(kind)) {
    const other = LEARNED_NAMES.find((name) => (kind.fused[name] ?? null) !== null && !EXPORTED.includes(name));
    if (other === undefined) return kind;
    throw new ValueError(`export: attention '${attention}' has the input '${other}', which has no ONNX graph`);
  }
  throw new ValueError(
    `export: attention is '${attention}', which is composed of ops and has no ONNX graph; export a kind of the op attention`,
  );
}

/** In tiles that fit the cache, since columns of a large matrix do not. */
function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const tile = 32;
  const result = new Float32Array(values.length);
  for (let r0 = 0; r0 < rows; r0 += tile) {
    for (let c0 = 0; c0 < columns; c0 += tile) {
      for (let r = r0; r < Math.min(rows, r0 + tile); r++) {
        for (let c = c0; c < Math.min(columns, c0 + tile); c++) result[c * rows + r] = values[r * columns + c];
      }
    }
  }
  return result;
}
