import {
  type AttentionSizes,
  type LearnedGrads,
  learnedGrads,
  type PerHead,
  type PerHeadInput,
  perHead,
} from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { elasticWeights, type ScoreRows, scoreRows, softmaxGradient } from './elastic.ts';
import { multiply, type ProductStyle, transposed } from './multiply.ts';
import { slice } from './slice.ts';
import { type Band, makeBand, sliceBand, sumDiagonals } from './toeplitz.ts';

/** The inputs of spec §Shapes and symbols as tfjs tensors; shapes as in core's AttentionInputs. */
export interface AttentionTensors extends PerHead<tf.Tensor1D | null> {
  readonly sizes: AttentionSizes;
  readonly scale: number;
  readonly q: tf.Tensor4D;
  readonly k: tf.Tensor4D;
  readonly v: tf.Tensor4D;
  readonly bias: tf.Tensor2D | null;
  /** [B, L] int32 */
  readonly starts: tf.Tensor2D | null;
}

export interface AttentionGradients extends LearnedGrads<tf.Tensor | null> {
  readonly dq: tf.Tensor4D;
  readonly dk: tf.Tensor4D;
  readonly dv: tf.Tensor4D;
}

/** Scores alive at a time: 8 MiB per intermediate, small enough for memory, large enough that calls do not dominate. */
const SCORES_AT_ONCE = 2 ** 21;
const MOST_ROWS = 256;
/** Fewer rows would make the products of a block too thin; beyond that the budget gives way. */
const FEWEST_ROWS = 16;

/** A block of queries: batch entries batch..batch + entries - 1, query rows row..row + rows - 1. */
interface Block {
  readonly batch: number;
  readonly entries: number;
  readonly row: number;
  readonly rows: number;
  /** Absolute position of the first row. */
  readonly start: number;
  /** Keys that some row of the block attends: start + rows. */
  readonly keys: number;
}

/** spec §Forward: [B, L, H, D]. */
export function attentionForward(style: ProductStyle, inputs: AttentionTensors): tf.Tensor4D {
  return tf.tidy(() => {
    const rows = rowsPerBlock(inputs.sizes);
    const problem = prepare(inputs, rows);
    const value = headsFirst(keysInUse(inputs.v, inputs.sizes));
    const outputs = planBlocks(inputs.sizes, rows).map((blocks) => {
      const parts = blocks.map((block) =>
        tf.tidy(() => {
          const { weights } = elasticWeights(blockScores(style, problem, block));
          return ungroup(multiply(style, group(weights, inputs.sizes), flatKeys(value, block)), inputs.sizes, block);
        }),
      );
      return tf.concat(parts, 2);
    });
    return headsLast(tf.concat(outputs, 0));
  });
}

/** spec §Forward, w alone: [B, H, L, S]. All at once, since that is the size of the result. */
export function attentionWeights(style: ProductStyle, inputs: Omit<AttentionTensors, 'v'>): tf.Tensor4D {
  return tf.tidy(() => {
    const { batch, queryLength, keyLength } = inputs.sizes;
    const start = keyLength - queryLength;
    const whole = { batch: 0, entries: batch, row: 0, rows: queryLength, start, keys: keyLength };
    return elasticWeights(blockScores(style, prepare(inputs, queryLength), whole)).weights;
  });
}

/** spec §Backward. The probabilities are recomputed: a softmax costs less here than keeping anything. */
export function attentionBackward(
  style: ProductStyle,
  dOutput: tf.Tensor4D,
  inputs: AttentionTensors,
): AttentionGradients {
  const { sizes } = inputs;
  const { dq, dk, dv, ...sums } = tf.tidy(() => {
    const rows = rowsPerBlock(sizes);
    const operands: BackwardOperands = {
      problem: prepare(inputs, rows),
      dOutput: headsFirst(dOutput),
      key: headsFirst(keysInUse(inputs.k, sizes)),
      valueT: tf.transpose(keysInUse(inputs.v, sizes), [0, 2, 3, 1]),
    };
    let shared: SharedGradients = {
      bias: inputs.bias === null ? undefined : tf.zeros([sizes.heads, sizes.window]),
      ...perHead((name) => (inputs[name] === null ? undefined : tf.zeros<tf.Rank.R1>([sizes.heads]))),
    };
    const perBatch = planBlocks(sizes, rows).map((blocks) => {
      const dq: tf.Tensor4D[] = [];
      let keyed: KeyGradients = { dkT: undefined, dvT: undefined };
      for (const block of blocks) {
        const part = tf.tidy(() => blockBackward(style, operands, block, keyed, shared));
        tf.dispose([keyed, shared]);
        dq.push(part.dq);
        keyed = part.keyed;
        shared = part.shared;
      }
      return { dq: tf.concat(dq, 2), dkT: keyed.dkT as tf.Tensor4D, dvT: keyed.dvT as tf.Tensor4D };
    });
    const join = (pick: 'dq' | 'dkT' | 'dvT') =>
      tf.concat(
        perBatch.map((part) => part[pick]),
        0,
      );
    return {
      dq: headsLast(tf.mul(join('dq'), inputs.scale)),
      dk: tf.transpose(join('dkT'), [0, 3, 1, 2]),
      dv: tf.transpose(join('dvT'), [0, 3, 1, 2]),
      ...shared,
      // Diagonals were summed with distances falling.
      bias: shared.bias && tf.reverse(shared.bias, 1),
    };
  });
  return { dq, dk, dv, ...learnedGrads((name) => sums[name] ?? null) };
}

interface BackwardOperands {
  readonly problem: Problem;
  /** [B, H, L, D] */
  readonly dOutput: tf.Tensor4D;
  /** [B, Hkv, S, D] */
  readonly key: tf.Tensor4D;
  /** [B, Hkv, D, S] */
  readonly valueT: tf.Tensor4D;
}

/** Sums over all blocks. (Types and not interfaces, which tfjs's containers would refuse.) */
type SharedGradients = { bias: tf.Tensor2D | undefined } & { [Name in PerHeadInput]: tf.Tensor1D | undefined };
/** Sums over the blocks of a batch group, built transposed, [b, Hkv, D, S], so that no large matrix is transposed. */
type KeyGradients = { dkT: tf.Tensor4D | undefined; dvT: tf.Tensor4D | undefined };

function blockBackward(
  style: ProductStyle,
  { problem, dOutput, key, valueT }: BackwardOperands,
  block: Block,
  keyed: KeyGradients,
  shared: SharedGradients,
) {
  const { sizes } = problem;
  const dOutRows = group(sliceRows(dOutput, block), sizes);
  const queryRows = group(sliceRows(problem.query, block), sizes);
  const g = ungroup(multiply(style, dOutRows, flatChannels(valueT, block)), sizes, block);
  const { weights, ds, parts } = softmaxGradient(blockScores(style, problem, block), g);
  const dsRows = group(ds, sizes);
  const perKey = (rows: tf.Tensor3D, coefficients: tf.Tensor3D) => {
    const product = multiply(style, transposed(rows), coefficients);
    return tf.reshape(product, [block.entries, sizes.kvHeads, sizes.headDim, block.keys]) as tf.Tensor4D;
  };
  return {
    dq: ungroup(multiply(style, dsRows, flatKeys(key, block)), sizes, block),
    keyed: {
      dkT: addPrefix(keyed.dkT, perKey(queryRows, dsRows), sizes.keyLength),
      dvT: addPrefix(keyed.dvT, perKey(dOutRows, group(weights, sizes)), sizes.keyLength),
    },
    shared: {
      bias: shared.bias && tf.add<tf.Tensor2D>(shared.bias, sumDiagonals(style, ds, block.start, sizes.window)),
      ...perHead((name) => {
        const [sum, part] = [shared[name], parts[name]];
        return sum && part ? tf.add<tf.Tensor1D>(sum, tf.sum(part, [0, 2, 3])) : undefined;
      }),
    },
  };
}

interface Problem {
  readonly sizes: AttentionSizes;
  /** scale * q, [B, H, L, D]: the scale is in the scores and in dk, and dq is multiplied by it at the end. */
  readonly query: tf.Tensor4D;
  /** [B, Hkv, D, S] */
  readonly keyT: tf.Tensor4D;
  readonly band: Band | null;
  /** [1, H, 1, 1] each. */
  readonly learned: PerHead<tf.Tensor4D | null>;
  /** [B, 1, L, 1] */
  readonly starts: tf.Tensor4D | null;
}

function prepare(inputs: Omit<AttentionTensors, 'v'>, chunk: number): Problem {
  const { sizes, scale, q, k, bias, starts } = inputs;
  const lastStart = sizes.keyLength - sizes.queryLength + Math.floor((sizes.queryLength - 1) / chunk) * chunk;
  return {
    sizes,
    query: tf.mul(headsFirst(q), scale),
    keyT: tf.transpose(keysInUse(k, sizes), [0, 2, 3, 1]),
    band: bias && makeBand(bias, lastStart, chunk),
    learned: perHead((name) => {
      const x = inputs[name];
      return x && tf.reshape<tf.Rank.R4>(x, [1, sizes.heads, 1, 1]);
    }),
    starts: starts && tf.reshape(tf.cast(starts, 'float32'), [sizes.batch, 1, sizes.queryLength, 1]),
  };
}

/** Scores s of a block, and what Elastic-Softmax needs beside them. */
function blockScores(style: ProductStyle, problem: Problem, block: Block): ScoreRows {
  const { sizes, query, keyT, band, learned, starts } = problem;
  const { batch, entries, row, rows, start } = block;
  const products = ungroup(
    multiply(style, group(sliceRows(query, block), sizes), flatChannels(keyT, block)),
    sizes,
    block,
  );
  const raw = band === null ? products : tf.add<tf.Tensor4D>(products, sliceBand(band, start, rows));
  const first = starts && slice(starts, [batch, 0, row, 0], [entries, 1, rows, 1]);
  return scoreRows(raw, { start, first }, learned);
}

/** Blocks of queries by batch group, each at most about SCORES_AT_ONCE scores. */
function planBlocks(sizes: AttentionSizes, rowsPer: number): Block[][] {
  const { batch, heads, queryLength, keyLength } = sizes;
  const entriesPer = Math.max(1, Math.floor(SCORES_AT_ONCE / (heads * rowsPer * keyLength)));
  const plan: Block[][] = [];
  for (let b = 0; b < batch; b += entriesPer) {
    const blocks: Block[] = [];
    for (let row = 0; row < queryLength; row += rowsPer) {
      const rows = Math.min(rowsPer, queryLength - row);
      const start = row + keyLength - queryLength;
      blocks.push({ batch: b, entries: Math.min(entriesPer, batch - b), row, rows, start, keys: start + rows });
    }
    plan.push(blocks);
  }
  return plan;
}

function rowsPerBlock({ heads, queryLength, keyLength }: AttentionSizes): number {
  const fitting = Math.floor(SCORES_AT_ONCE / (heads * keyLength));
  return Math.min(queryLength, MOST_ROWS, Math.max(FEWEST_ROWS, fitting));
}

/** [B, S, Hkv, D] of a cache with room for more. */
function keysInUse(x: tf.Tensor4D, { keyLength, keyCapacity }: AttentionSizes): tf.Tensor4D {
  if (keyLength === keyCapacity) return x;
  return slice(x, [0, 0, 0, 0], [x.shape[0], keyLength, x.shape[2], x.shape[3]]);
}

/** [B, L, H, D] to [B, H, L, D]. */
function headsFirst(x: tf.Tensor4D): tf.Tensor4D {
  return tf.transpose(x, [0, 2, 1, 3]);
}

const headsLast = headsFirst;

function sliceRows(x: tf.Tensor4D, block: Block): tf.Tensor4D {
  return slice(x, [block.batch, 0, block.row, 0], [block.entries, x.shape[1], block.rows, x.shape[3]]);
}

/** [b, H, rows, n] as one matrix per key/value head: query heads that share one are stacked, so no key is repeated. */
function group(x: tf.Tensor4D, { heads, kvHeads }: AttentionSizes): tf.Tensor3D {
  const [entries, , rows, n] = x.shape;
  return tf.reshape(x, [entries * kvHeads, (heads / kvHeads) * rows, n]);
}

function ungroup(x: tf.Tensor3D, { heads }: AttentionSizes, { entries, rows }: Block): tf.Tensor4D {
  return tf.reshape(x, [entries, heads, rows, x.shape[2]]);
}

/** The block's keys of [B, Hkv, S, D] as [b * Hkv, keys, D]. */
function flatKeys(x: tf.Tensor4D, { batch, entries, keys }: Block): tf.Tensor3D {
  const [, kvHeads, , headDim] = x.shape;
  return tf.reshape(slice(x, [batch, 0, 0, 0], [entries, kvHeads, keys, headDim]), [entries * kvHeads, keys, headDim]);
}

/** The block's keys of [B, Hkv, D, S] as [b * Hkv, D, keys]. */
function flatChannels(x: tf.Tensor4D, { batch, entries, keys }: Block): tf.Tensor3D {
  const [, kvHeads, headDim] = x.shape;
  return tf.reshape(slice(x, [batch, 0, 0, 0], [entries, kvHeads, headDim, keys]), [entries * kvHeads, headDim, keys]);
}

/** `part` [.., keys] widened with zeros to `length` and added to `total`. */
function addPrefix(total: tf.Tensor4D | undefined, part: tf.Tensor4D, length: number): tf.Tensor4D {
  const missing = length - part.shape[3];
  const wide =
    missing === 0
      ? part
      : tf.pad(part, [
          [0, 0],
          [0, 0],
          [0, 0],
          [0, missing],
        ]);
  return total === undefined ? wide : tf.add(total, wide);
}
