import { type AttentionInputs, elementCount, type Kernels, type SavedState } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { DECODE_KEYS, DECODE_SPLIT, decodeOutput, decodeScores, headClassOf } from '../wgsl/attention-decode.ts';
import { stripBiasSum, stripDiagonals, stripSoftmax, stripSoftmaxGrad } from '../wgsl/attention-rows.ts';
import { GROUP, stripColumns, stripRows, stripScores, stripTiles } from '../wgsl/attention-strip.ts';
import { cast } from '../wgsl/elementwise.ts';
import type { ProductTile } from '../wgsl/product.ts';
import { headSum, splitSum } from '../wgsl/reduce.ts';
import { denseScores, elasticSoftmax, elasticSoftmaxGrad } from '../wgsl/rows.ts';
import {
  allocate,
  allocateStatistics,
  type GpuTensor,
  linearGrid,
  runPointwise,
  scalarOf,
  withScratch,
} from './shared.ts';
import { type StripBlock, stripBlocks } from './strip.ts';

/** Maximum of s and 1 / sum exp(s - maximum) of each row, [B, H, L, 2]. */
export interface SavedAttention extends SavedState {
  readonly stats: DeviceBuffer;
}

type AttentionKernels = Pick<
  Kernels<DeviceBuffer, SavedAttention>,
  'attention' | 'attentionGrad' | 'attentionWeights' | 'elasticSoftmax' | 'elasticSoftmaxGrad' | 'freeSaved'
>;

/** The kernels of one problem on the blocks of its strips. */
interface StripRun {
  readonly blocks: readonly StripBlock[];
  /** Scores of the largest block. */
  readonly largest: number;
  /** strip = factor * a . b^T */
  scores(block: StripBlock, factor: number, a: DeviceBuffer, b: DeviceBuffer, strip: DeviceBuffer): void;
  /** out = factor * strip . b */
  rows(block: StripBlock, factor: number, strip: DeviceBuffer, b: DeviceBuffer, out: DeviceBuffer): void;
  /** out (+)= factor * strip^T . b, in f32 */
  columns(block: StripBlock, factor: number, strip: DeviceBuffer, b: DeviceBuffer, out: DeviceBuffer): void;
  softmax(block: StripBlock, strip: DeviceBuffer, stats: DeviceBuffer): void;
  softmaxGrad(
    block: StripBlock,
    strip: DeviceBuffer,
    grads: DeviceBuffer,
    stats: DeviceBuffer,
    tauTerms: DeviceBuffer,
  ): void;
  /** dbias (+)= sums of ds at each distance; `partial` has room for `biasParts` floats. */
  bias(block: StripBlock, grads: DeviceBuffer, partial: DeviceBuffer, dbias: DeviceBuffer): void;
  readonly biasParts: number;
}

/** `stripBytes` bounds the workspace for scores where a block of 64 rows of one head allows it. */
export function attentionKernels(rt: Runtime, stripBytes: number): AttentionKernels {
  /** An absent input is bound all the same, and not read. */
  const given = (tensor: GpuTensor | null): DeviceBuffer =>
    tensor?.buffer ?? rt.constant('absent', () => new Float32Array(4));

  const stripRun = ({ sizes, q, bias, tau, starts }: AttentionInputs<DeviceBuffer>): StripRun => {
    const { queryLength, keyLength, keyCapacity, heads, kvHeads, headDim, window } = sizes;
    const blocks = stripBlocks(sizes, stripBytes / 4);
    const tiles = stripTiles(headDim, rt.capabilities.software);
    const dtype = scalarOf(q.dtype);
    /** Distances of the bias that pairs can have. */
    const biasWidth = bias === null ? 0 : Math.min(window, keyLength);
    const params = (block: StripBlock, factor: number, accumulate: boolean): number[] => [
      queryLength,
      keyLength,
      keyCapacity,
      heads,
      kvHeads,
      headDim,
      bias === null ? 0 : window,
      tau === null ? 0 : 1,
      starts === null ? 0 : 1,
      block.firstHead,
      block.headCount,
      block.groupHeads,
      block.blockRow,
      block.rowCount,
      block.width,
      biasWidth,
      accumulate ? 1 : 0,
      factor,
    ];
    const rowTiles = ({ rowCount }: StripBlock, { tileM }: ProductTile): number => Math.ceil(rowCount / tileM);
    const results = Math.ceil(headDim / tiles.results.tileN);
    const name = `${dtype}/${tiles.results.tileN}`;
    const biasGroups = (block: StripBlock): number => block.headCount * Math.ceil(block.rowCount / GROUP);
    return {
      blocks,
      largest: Math.max(...blocks.map(({ headCount, rowCount, width }) => headCount * rowCount * width)),
      scores: (block, factor, a, b, strip) =>
        rt.run(
          `attention/scores/${dtype}`,
          () => stripScores({ tile: tiles.scores, dtype }),
          [a, b, strip, given(starts)],
          params(block, factor, false),
          [Math.ceil(block.width / tiles.scores.tileN), rowTiles(block, tiles.scores), block.headCount],
        ),
      rows: (block, factor, strip, b, out) =>
        rt.run(
          `attention/rows/${name}`,
          () => stripRows({ tile: tiles.results, dtype }),
          [strip, b, out, given(starts)],
          params(block, factor, false),
          [results, rowTiles(block, tiles.results), block.headCount],
        ),
      columns: (block, factor, strip, b, out) =>
        rt.run(
          `attention/columns/${name}${block.firstOfKeys ? '' : '/accumulate'}`,
          () => stripColumns({ tile: tiles.results, dtype }, !block.firstOfKeys),
          [strip, b, out, given(starts)],
          params(block, factor, false),
          [results, Math.ceil(keyLength / tiles.results.tileM), block.headCount / block.groupHeads],
        ),
      softmax: (block, strip, stats) =>
        rt.run(
          'attention/softmax',
          stripSoftmax,
          [strip, stats, given(bias), given(tau), given(starts)],
          params(block, 1, false),
          [block.rowCount, block.headCount],
        ),
      softmaxGrad: (block, strip, grads, stats, tauTerms) =>
        rt.run(
          'attention/softmaxGrad',
          stripSoftmaxGrad,
          [strip, grads, stats, tauTerms, given(bias), given(tau), given(starts)],
          params(block, 1, false),
          [block.rowCount, block.headCount],
        ),
      bias: (block, grads, partial, dbias) => {
        rt.run('attention/diagonals', stripDiagonals, [grads, partial, given(starts)], params(block, 1, false), [
          Math.ceil(biasWidth / 64),
          Math.ceil(block.rowCount / GROUP),
          block.headCount,
        ]);
        rt.run(
          'attention/biasSum',
          stripBiasSum,
          [partial, dbias],
          params(block, 1, block !== blocks[0]),
          linearGrid(Math.ceil((heads * window) / 64)),
        );
      },
      biasParts: Math.max(1, biasWidth * Math.max(...blocks.map(biasGroups))),
    };
  };

  /** The sums of a gradient in the type of what it belongs to; takes them over. */
  const inTypeOf = (tensor: GpuTensor, sums: DeviceBuffer): DeviceBuffer => {
    if (scalarOf(tensor.dtype) === 'f32') return sums;
    const result = allocate(rt, tensor.shape, tensor.dtype);
    runPointwise(rt, 'cast/f32/f16', () => cast('f32', 'f16'), [sums, result], elementCount(tensor.shape));
    rt.release(sums);
    return result;
  };

  const forward = (inputs: AttentionInputs<DeviceBuffer>, output: DeviceBuffer, stats: DeviceBuffer): void => {
    const { scale, q, k, v } = inputs;
    const run = stripRun(inputs);
    withScratch(rt, [run.largest], (strip) => {
      for (const block of run.blocks) {
        run.scores(block, scale, q.buffer, k.buffer, strip);
        run.softmax(block, strip, stats);
        run.rows(block, 1, strip, v.buffer, output);
      }
    });
  };

  const decode = (inputs: AttentionInputs<DeviceBuffer>, output: DeviceBuffer): void => {
    const { sizes, scale, q, k, v, bias, tau, starts } = inputs;
    const variant = { headClass: headClassOf(sizes.headDim), dtype: scalarOf(q.dtype) };
    const name = `${variant.headClass}/${variant.dtype}`;
    const params = [
      sizes.keyLength,
      sizes.keyCapacity,
      sizes.heads,
      sizes.kvHeads,
      sizes.headDim,
      bias === null ? 0 : sizes.window,
      tau === null ? 0 : 1,
      starts === null ? 0 : 1,
      scale,
    ];
    const rows = sizes.batch * sizes.heads;
    const parts = Math.ceil(sizes.keyLength / DECODE_KEYS);
    const splits = Math.ceil(sizes.keyLength / DECODE_SPLIT);
    const floats = [rows * sizes.keyLength, rows * parts * 2, rows * splits * sizes.headDim];
    withScratch(rt, floats, (scores, partStats, outputs) => {
      rt.run(
        `attention/decodeScores/${name}`,
        () => decodeScores(variant),
        [q.buffer, k.buffer, scores, partStats, given(bias), given(starts)],
        params,
        [parts, sizes.heads, sizes.batch],
      );
      rt.run(
        `attention/decodeOutput/${name}`,
        () => decodeOutput(variant),
        [v.buffer, scores, partStats, outputs, given(tau), given(starts)],
        params,
        [splits, sizes.heads, sizes.batch],
      );
      const elements = rows * sizes.headDim;
      rt.run(
        `splitSum/${variant.dtype}`,
        () => splitSum(variant.dtype),
        [outputs, output],
        [elements, sizes.headDim, splits, 0],
        linearGrid(Math.ceil(elements / 64)),
      );
    });
  };

  return {
    attention(inputs, save) {
      const { sizes, q } = inputs;
      const output = allocate(rt, q.shape, q.dtype);
      if (!save && sizes.queryLength === 1) {
        decode(inputs, output);
        return { output, saved: null };
      }
      const stats = rt.acquire(sizes.batch * sizes.heads * sizes.queryLength * 8);
      forward(inputs, output, stats);
      if (save) return { output, saved: { bytes: stats.size, stats } };
      rt.release(stats);
      return { output, saved: null };
    },

    freeSaved(saved) {
      rt.release(saved.stats);
    },

    attentionGrad(dOutput, inputs, _output, saved) {
      const { sizes, scale, q, k, v, bias, tau } = inputs;
      const { batch, heads, queryLength, window } = sizes;
      const run = stripRun(inputs);
      const dq = allocate(rt, q.shape, q.dtype);
      const dbias = bias === null ? null : rt.acquire(heads * window * 4);
      const dtau = tau === null ? null : rt.acquire(heads * 4);
      // Sums over blocks stay in f32.
      const dkSum = allocate(rt, k.shape, 'f32');
      const dvSum = allocate(rt, v.shape, 'f32');
      const scratch = [run.largest, run.largest, batch * heads * queryLength, run.biasParts];
      withScratch(rt, scratch, (strip, grads, tauTerms, partial) => {
        for (const block of run.blocks) {
          run.scores(block, scale, q.buffer, k.buffer, strip);
          run.scores(block, 1, dOutput.buffer, v.buffer, grads);
          run.softmaxGrad(block, strip, grads, saved.stats, tauTerms);
          run.rows(block, scale, grads, k.buffer, dq);
          run.columns(block, scale, grads, q.buffer, dkSum);
          run.columns(block, 1, strip, dOutput.buffer, dvSum);
          if (dbias !== null) run.bias(block, grads, partial, dbias);
        }
        if (dtau !== null) rt.run('headSum', headSum, [tauTerms, dtau], [batch, heads, queryLength], [heads]);
      });
      return { dq, dk: inTypeOf(k, dkSum), dv: inTypeOf(v, dvSum), dbias, dtau };
    },

    attentionWeights({ sizes, scale, q, k, bias, tau, starts }) {
      const { batch, heads, queryLength, keyLength, keyCapacity, kvHeads, headDim, window } = sizes;
      const type = scalarOf(q.dtype);
      const pairs = batch * heads * queryLength * keyLength;
      const weights = allocateStatistics(rt, [pairs], q.dtype);
      withScratch(rt, [pairs], (scores) => {
        rt.run(
          `attentionWeights/${type}`,
          () => denseScores(type),
          [q.buffer, k.buffer, scores, given(bias)],
          [pairs, queryLength, keyLength, keyCapacity, heads, kvHeads, headDim, bias === null ? 0 : window, scale],
          linearGrid(Math.ceil(pairs / 64)),
        );
        const rows = pairs / keyLength;
        rt.run(
          'elasticSoftmax/f32',
          () => elasticSoftmax('f32'),
          [scores, weights, given(tau), given(starts)],
          [rows, keyLength, queryLength, heads, tau === null ? 0 : 1, starts === null ? 0 : 1],
          linearGrid(rows),
        );
      });
      return weights;
    },

    elasticSoftmax({ scores, tau, starts }) {
      const [batch, heads, queryLength, keyLength] = scores.shape;
      const type = scalarOf(scores.dtype);
      const out = allocate(rt, scores.shape, scores.dtype);
      const rows = batch * heads * queryLength;
      rt.run(
        `elasticSoftmax/${type}`,
        () => elasticSoftmax(type),
        [scores.buffer, out, given(tau), given(starts)],
        [rows, keyLength, queryLength, heads, tau === null ? 0 : 1, starts === null ? 0 : 1],
        linearGrid(rows),
      );
      return out;
    },

    elasticSoftmaxGrad(dWeights, { scores, tau, starts }) {
      const [batch, heads, queryLength, keyLength] = scores.shape;
      const type = scalarOf(scores.dtype);
      const dscores = allocate(rt, scores.shape, scores.dtype);
      const rows = batch * heads * queryLength;
      const dtau = tau === null ? null : rt.acquire(heads * 4);
      withScratch(rt, [rows], (tauTerms) => {
        rt.run(
          `elasticSoftmaxGrad/${type}`,
          () => elasticSoftmaxGrad(type),
          [dWeights.buffer, scores.buffer, dscores, tauTerms, given(tau), given(starts)],
          [rows, keyLength, queryLength, heads, tau === null ? 0 : 1, starts === null ? 0 : 1],
          linearGrid(rows),
        );
        if (dtau !== null) rt.run('headSum', headSum, [tauTerms, dtau], [batch, heads, queryLength], [heads]);
      });
      return { dscores, dtau };
    },
  };
}
