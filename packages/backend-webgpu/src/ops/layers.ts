import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { fill, rope, swiglu, swigluGrad } from '../wgsl/elementwise.ts';
import { finalSum, splitSum } from '../wgsl/reduce.ts';
import {
  crossEntropyGrad,
  crossEntropyRows,
  embedding,
  embeddingGrad,
  linkIds,
  rmsNorm,
  rmsNormGradInput,
  rmsNormGradWeight,
} from '../wgsl/rows.ts';
import { allocate, linearGrid, runPointwise, scalarOf, withScratch } from './shared.ts';

type LayerKernels = Pick<
  Kernels<DeviceBuffer>,
  | 'rmsNorm'
  | 'rmsNormGrad'
  | 'rope'
  | 'swiglu'
  | 'swigluGrad'
  | 'embedding'
  | 'embeddingGrad'
  | 'crossEntropy'
  | 'crossEntropyGrad'
>;

/** Rows that one invocation sums for the gradient of a norm's weight, before the partial sums are added. */
const ROWS_PER_GROUP = 32;

const POSITIONS_PER_BLOCK = 256;
/** Blocks of positions per table, so that decoding uploads a new one only every 16384 positions. */
const BLOCKS_PER_TABLE = 64;

/** cos and sin of position * base^(-2d/D) for `count` positions from `first`, `step` apart; in double. */
function rotations(base: number, half: number, first: number, step: number, count: number): Float32Array<ArrayBuffer> {
  const table = new Float32Array(count * half * 2);
  for (let d = 0; d < half; d++) {
    const frequency = base ** (-d / half);
    for (let i = 0; i < count; i++) {
      const angle = (first + i) * step * frequency;
      table[(i * half + d) * 2] = Math.cos(angle);
      table[(i * half + d) * 2 + 1] = Math.sin(angle);
    }
  }
  return table;
}

export function layerKernels(rt: Runtime): LayerKernels {
  return {
    rmsNorm(x, weight, epsilon) {
      const [rows, width] = x.shape;
      const type = scalarOf(x.dtype);
      const out = allocate(rt, x.shape, x.dtype);
      rt.run(
        `rmsNorm/${type}`,
        () => rmsNorm(type),
        [x.buffer, weight.buffer, out],
        [rows, width, epsilon],
        linearGrid(rows),
      );
      return out;
    },

    rmsNormGrad(dy, x, weight, epsilon) {
      const [rows, width] = x.shape;
      const type = scalarOf(x.dtype);
      const dx = allocate(rt, x.shape, x.dtype);
      const dweight = allocate(rt, weight.shape, weight.dtype);
      // y of a grid has 65535 places.
      const rowsPerGroup = Math.max(ROWS_PER_GROUP, Math.ceil(rows / 65535));
      const groups = Math.ceil(rows / rowsPerGroup);
      withScratch(rt, [rows, groups * width], (factors, partial) => {
        rt.run(
          `rmsNormGrad/input/${type}`,
          () => rmsNormGradInput(type),
          [dy.buffer, x.buffer, weight.buffer, dx, factors],
          [rows, width, epsilon],
          linearGrid(rows),
        );
        rt.run(
          `rmsNormGrad/weight/${type}`,
          () => rmsNormGradWeight(type),
          [dy.buffer, x.buffer, factors, partial],
          [rows, width, rowsPerGroup],
          [Math.ceil(width / 64), groups],
        );
        rt.run(
          `splitSum/${type}`,
          () => splitSum(type),
          [partial, dweight],
          [width, width, groups, 0],
          linearGrid(Math.ceil(width / 64)),
        );
      });
      return { dx, dweight };
    },

    rope(x, { base, offset, inverse }) {
      const [, length, heads, headDim] = x.shape;
      const half = headDim / 2;
      const type = scalarOf(x.dtype);
      const firstHigh = Math.floor(offset / POSITIONS_PER_BLOCK / BLOCKS_PER_TABLE) * BLOCKS_PER_TABLE;
      const highs =
        Math.ceil(((offset + length) / POSITIONS_PER_BLOCK - firstHigh) / BLOCKS_PER_TABLE) * BLOCKS_PER_TABLE;
      const low = rt.constant(`rope/${base}/${half}/low`, () => rotations(base, half, 0, 1, POSITIONS_PER_BLOCK));
      const high = rt.constant(`rope/${base}/${half}/${firstHigh}/${highs}`, () =>
        rotations(base, half, firstHigh, POSITIONS_PER_BLOCK, highs),
      );
      const out = allocate(rt, x.shape, x.dtype);
      const pairs = elementCount(x.shape) / 2;
      rt.run(
        `rope/${type}`,
        () => rope(type),
        [x.buffer, low, high, out],
        [pairs, half, heads, length, offset, firstHigh, inverse ? -1 : 1],
        linearGrid(Math.ceil(pairs / 64)),
      );
      return out;
    },

    swiglu(gate, up) {
      const type = scalarOf(gate.dtype);
      const out = allocate(rt, gate.shape, gate.dtype);
      runPointwise(rt, `swiglu/${type}`, () => swiglu(type), [gate.buffer, up.buffer, out], elementCount(gate.shape));
      return out;
    },

    swigluGrad(dy, gate, up) {
      const type = scalarOf(gate.dtype);
      const dgate = allocate(rt, gate.shape, gate.dtype);
      const dup = allocate(rt, gate.shape, gate.dtype);
      const buffers = [dy.buffer, gate.buffer, up.buffer, dgate, dup];
      runPointwise(rt, `swigluGrad/${type}`, () => swigluGrad(type), buffers, elementCount(gate.shape));
      return { dgate, dup };
    },

    embedding(weight, ids) {
      const type = scalarOf(weight.dtype);
      const width = weight.shape[1];
      const elements = elementCount(ids.shape) * width;
      const out = allocate(rt, [elements], weight.dtype);
      rt.run(
        `embedding/${type}`,
        () => embedding(type),
        [weight.buffer, ids.buffer, out],
        [elements, width],
        linearGrid(Math.ceil(elements / 64)),
      );
      return out;
    },

    embeddingGrad(dy, ids, vocabulary) {
      const type = scalarOf(dy.dtype);
      const count = elementCount(ids.shape);
      const width = elementCount(dy.shape) / count;
      const dweight = allocate(rt, [vocabulary, width], dy.dtype);
      runPointwise(rt, `fill/${type}`, () => fill(type), [dweight], vocabulary * width, [0]);
      withScratch(rt, [2 * count], (links) => {
        rt.run('linkIds', linkIds, [ids.buffer, links], [count], linearGrid(Math.ceil(count / 64)));
        rt.run(
          `embeddingGrad/${type}`,
          () => embeddingGrad(type),
          [dy.buffer, ids.buffer, links, dweight],
          [count, width],
          linearGrid(count),
        );
      });
      return dweight;
    },

    crossEntropy(logits, targets, { ignoreIndex, count }) {
      const [rows, width] = logits.shape;
      const type = scalarOf(logits.dtype);
      const lse = rt.acquire(rows * 4);
      const loss = rt.acquire(4);
      withScratch(rt, [rows], (losses) => {
        rt.run(
          `crossEntropy/${type}`,
          () => crossEntropyRows(type),
          [logits.buffer, targets.buffer, lse, losses],
          [rows, width, ignoreIndex],
          linearGrid(rows),
        );
        rt.run('finalSum', finalSum, [losses, loss], [rows, 1 / count], [1]);
      });
      return { loss, lse };
    },

    crossEntropyGrad(dLoss, logits, targets, lse, { ignoreIndex, count }) {
      const [rows, width] = logits.shape;
      const type = scalarOf(logits.dtype);
      const out = allocate(rt, logits.shape, logits.dtype);
      rt.run(
        `crossEntropyGrad/${type}`,
        () => crossEntropyGrad(type),
        [dLoss.buffer, logits.buffer, targets.buffer, lse.buffer, out],
        [rows, width, ignoreIndex, 1 / count],
        linearGrid(rows),
      );
      return out;
    },
  };
}
