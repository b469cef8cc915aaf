import type { AttentionInputs } from '@lazy-attention/core';
import type { DeviceBuffer } from '../../device/buffers.ts';
import type { Runtime } from '../../device/runtime.ts';
import {
  GROUP,
  type StripParams,
  stripColumns,
  stripRows,
  stripScores,
  stripTiles,
} from '../../wgsl/attention-strip.ts';
import type { ProductTile } from '../../wgsl/product.ts';
import { scalarOf } from '../shared.ts';
import { type StripBlock, stripBlocks } from './blocks.ts';
import { type OptionalInputs, withOptionalInputs } from './inputs.ts';

/** The three products of one attention problem on the blocks of its strips, and what its kernels on rows need. */
export interface Strips {
  readonly blocks: readonly StripBlock[];
  /** Scores of the largest block. */
  readonly largest: number;
  readonly optional: OptionalInputs;
  /** Parameters of a kernel on a block. `factor` of a product is 1 if left out. */
  params(block: StripBlock, factor?: number, accumulate?: boolean): StripParams;
  /** strip = factor * a . b^T */
  scores(block: StripBlock, factor: number, a: DeviceBuffer, b: DeviceBuffer, strip: DeviceBuffer): void;
  /** out = factor * strip . b */
  rows(block: StripBlock, factor: number, strip: DeviceBuffer, b: DeviceBuffer, out: DeviceBuffer): void;
  /** out (+)= factor * strip^T . b, in f32 */
  columns(block: StripBlock, factor: number, strip: DeviceBuffer, b: DeviceBuffer, out: DeviceBuffer): void;
}

/** Cuts the problem into blocks whose scores take `stripBytes`, or 64 rows of one head where those take more. */
export function withStrips<T>(
  rt: Runtime,
  inputs: AttentionInputs<DeviceBuffer>,
  stripBytes: number,
  fn: (strips: Strips) => T,
): T {
  return withOptionalInputs(rt, inputs, inputs.sizes.window, (optional) =>
    fn(stripsOf(rt, inputs, stripBytes, optional)),
  );
}

function stripsOf(
  rt: Runtime,
  inputs: AttentionInputs<DeviceBuffer>,
  stripBytes: number,
  optional: OptionalInputs,
): Strips {
  const { queryLength, keyLength, keyCapacity, heads, kvHeads, headDim } = inputs.sizes;
  const blocks = stripBlocks(inputs.sizes, stripBytes / 4);
  const tiles = stripTiles(headDim, rt.capabilities.software);
  const type = scalarOf(inputs.q.dtype);
  const variants = { scores: { tile: tiles.scores, type }, results: { tile: tiles.results, type } } as const;
  const resultTiles = Math.ceil(headDim / tiles.results.tileN);
  const rowTiles = ({ rowCount }: StripBlock, { tileM }: ProductTile): number => Math.ceil(rowCount / tileM);
  const params: Strips['params'] = (block, factor = 1, accumulate = false) => ({
    queryLength,
    keyLength,
    keyCapacity,
    heads,
    kvHeads,
    headDim,
    ...optional.params,
    firstHead: block.firstHead,
    headCount: block.headCount,
    groupHeads: block.groupHeads,
    blockRow: block.blockRow,
    rowCount: block.rowCount,
    stripWidth: block.width,
    // Distances of the bias that pairs can have.
    biasWidth: Math.min(optional.params.window, keyLength),
    accumulate: accumulate ? 1 : 0,
    factor,
  });
  return {
    blocks,
    largest: Math.max(...blocks.map(({ headCount, rowCount, width }) => headCount * rowCount * width)),
    optional,
    params,
    scores: (block, factor, a, b, strip) =>
      rt.run(stripScores, variants.scores, {
        buffers: { a, b, strip, ...optional.starts },
        params: params(block, factor),
        grid: [Math.ceil(block.width / tiles.scores.tileN), rowTiles(block, tiles.scores), block.headCount],
      }),
    rows: (block, factor, strip, b, out) =>
      rt.run(stripRows, variants.results, {
        buffers: { a: strip, b, out, ...optional.starts },
        params: params(block, factor),
        grid: [resultTiles, rowTiles(block, tiles.results), block.headCount],
      }),
    columns: (block, factor, strip, b, out) =>
      rt.run(
        stripColumns,
        { ...variants.results, accumulate: !block.firstOfKeys },
        {
          buffers: { a: strip, b, out, ...optional.starts },
          params: params(block, factor),
          grid: [resultTiles, Math.ceil(keyLength / tiles.results.tileM), block.headCount / block.groupHeads],
        },
      ),
  };
}

/** Groups of 64 rows in a block, over all its heads. */
export const groupsOf = ({ headCount, rowCount }: StripBlock): number => headCount * Math.ceil(rowCount / GROUP);
