import type { AttentionInputs, AttentionSizes, Kernels, SavedState } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Capabilities, Runtime } from '../device/runtime.ts';
import { attentionBiasSum, attentionDelta, attentionGradKey, attentionGradQuery } from '../wgsl/attention-backward.ts';
import { DECODE_KEYS, DECODE_SPLIT, decodeOutput, decodeScores } from '../wgsl/attention-decode.ts';
import { attentionForward, attentionStats } from '../wgsl/attention-forward.ts';
import { type AttentionTile, type AttentionVariant, headClassOf, QUERIES } from '../wgsl/attention-tile.ts';
import { headSum, splitSum } from '../wgsl/reduce.ts';
import { denseScores, elasticSoftmax, elasticSoftmaxGrad } from '../wgsl/rows.ts';
import { allocate, allocateStatistics, type GpuTensor, linearGrid, scalarOf, withScratch } from './shared.ts';

/** What pass 1 leaves per row [B, H, L, 4], and the sums r and u of pass 2, [B, L, H, D] in f32. */
export interface SavedAttention extends SavedState {
  readonly stats: DeviceBuffer;
  /** r and u; null where o itself is r (softmax in f32). */
  readonly sums: { readonly plain: DeviceBuffer; readonly active: DeviceBuffer } | null;
}

type AttentionKernels = Pick<
  Kernels<DeviceBuffer, SavedAttention>,
  'attention' | 'attentionGrad' | 'attentionWeights' | 'elasticSoftmax' | 'elasticSoftmaxGrad' | 'freeSaved'
>;

/** Queries from which a software adapter gains more by larger blocks than their compilation costs. */
const LONG = 512;

/**
 * An invocation holds 8x4 scores, which leaves registers for 8x4 outputs and keeps several groups resident. Software
 * adapters pay for every read of workgroup memory, so long problems take 8x8 there. With the least workgroup memory
 * (16 KiB) the tile is half as wide.
 */
export function chooseAttentionTile({ sharedBytes, software }: Capabilities, queryLength: number): AttentionTile {
  if (sharedBytes < 25600) return { keys: 32, threadKeys: 4, compact: software };
  return { keys: 64, threadKeys: software && queryLength >= LONG ? 8 : 4, compact: software };
}

export function attentionKernels(rt: Runtime): AttentionKernels {
  const variantOf = ({ sizes, q }: AttentionInputs<DeviceBuffer>): AttentionVariant => {
    const tile = chooseAttentionTile(rt.capabilities, sizes.queryLength);
    // Slow compilers make it worth padding small heads to share kernels.
    const headClass = headClassOf(tile.compact ? Math.max(sizes.headDim, 64) : sizes.headDim);
    return { headClass, dtype: scalarOf(q.dtype), tile };
  };
  const nameOf = ({ headClass, dtype, tile }: AttentionVariant): string => `${headClass}/${dtype}/${tile.threadKeys}`;

  const paramsOf = ({ sizes, scale, bias, tau, starts }: AttentionInputs<DeviceBuffer>): number[] => [
    sizes.queryLength,
    sizes.keyLength,
    sizes.keyCapacity,
    sizes.heads,
    sizes.kvHeads,
    sizes.headDim,
    bias === null ? 0 : sizes.window,
    tau === null ? 0 : 1,
    starts === null ? 0 : 1,
    scale,
    sizes.batch * sizes.queryLength * sizes.heads,
    bias === null ? 0 : biasWidth(sizes),
  ];

  /** An absent input is bound all the same, and not read. */
  const given = (tensor: GpuTensor | null): DeviceBuffer =>
    tensor?.buffer ?? rt.constant('absent', () => new Float32Array(4));

  const forward = (inputs: AttentionInputs<DeviceBuffer>, output: DeviceBuffer, saved: SavedAttention): void => {
    const { sizes, q, k, v, bias, tau, starts } = inputs;
    const variant = variantOf(inputs);
    const params = paramsOf(inputs);
    const grid = [Math.ceil(sizes.queryLength / QUERIES), sizes.heads, sizes.batch] as const;
    rt.run(
      `attention/stats/${nameOf(variant)}`,
      () => attentionStats(variant),
      [q.buffer, k.buffer, given(bias), given(tau), given(starts), saved.stats],
      params,
      grid,
    );
    const { sums } = saved;
    rt.run(
      `attention/forward/${nameOf(variant)}${sums === null ? '' : '/train'}`,
      () => attentionForward(variant, sums !== null),
      [
        q.buffer,
        k.buffer,
        v.buffer,
        saved.stats,
        given(bias),
        output,
        ...(sums === null ? [] : [sums.plain, sums.active]),
      ],
      params,
      grid,
    );
  };

  const decode = (inputs: AttentionInputs<DeviceBuffer>, output: DeviceBuffer): void => {
    const { sizes, q, k, v, bias, tau, starts } = inputs;
    const variant = variantOf(inputs);
    const params = paramsOf(inputs);
    const rows = sizes.batch * sizes.heads;
    const parts = Math.ceil(sizes.keyLength / DECODE_KEYS);
    const splits = Math.ceil(sizes.keyLength / DECODE_SPLIT);
    const floats = [rows * sizes.keyLength, rows * parts * 2, rows * splits * sizes.headDim];
    withScratch(rt, floats, (scores, partStats, outputs) => {
      rt.run(
        `attention/decodeScores/${nameOf(variant)}`,
        () => decodeScores(variant),
        [q.buffer, k.buffer, scores, partStats, given(bias), given(starts)],
        params,
        [parts, sizes.heads, sizes.batch],
      );
      rt.run(
        `attention/decodeOutput/${nameOf(variant)}`,
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
      const rows = sizes.batch * sizes.heads * sizes.queryLength;
      const output = allocate(rt, q.shape, q.dtype);
      if (!save && sizes.queryLength === 1) {
        decode(inputs, output);
        return { output, saved: null };
      }
      const stats = rt.acquire(rows * 16);
      const bytes = rows * sizes.headDim * 4;
      const split = save && (inputs.tau !== null || q.dtype !== 'f32');
      const sums = split ? { plain: rt.acquire(bytes), active: rt.acquire(bytes) } : null;
      const saved = { bytes: stats.size + (sums === null ? 0 : sums.plain.size + sums.active.size), stats, sums };
      forward(inputs, output, saved);
      if (save) return { output, saved };
      rt.release(stats);
      return { output, saved: null };
    },

    freeSaved(saved) {
      rt.release(saved.stats);
      if (saved.sums === null) return;
      rt.release(saved.sums.plain);
      rt.release(saved.sums.active);
    },

    attentionGrad(dOutput, inputs, output, saved) {
      const { sizes, q, k, v, bias, tau } = inputs;
      const { batch, heads, kvHeads, queryLength, keyLength, window } = sizes;
      const variant = variantOf(inputs);
      const params = paramsOf(inputs);
      const rowCount = batch * heads * queryLength;
      const queryTiles = Math.ceil(queryLength / QUERIES);
      const width = biasWidth(sizes);

      const dq = allocate(rt, q.shape, q.dtype);
      const dk = allocate(rt, k.shape, k.dtype);
      const dv = allocate(rt, v.shape, v.dtype);
      const dbias = bias === null ? null : rt.acquire(heads * window * 4);
      const dtau = tau === null ? null : rt.acquire(heads * 4);
      const biasParts = bias === null ? 1 : batch * heads * queryTiles * width;

      withScratch(rt, [rowCount * 8, rowCount, biasParts], (rows, tauTerms, partial) => {
        rt.run(
          `attention/delta/${variant.dtype}`,
          () => attentionDelta(variant.dtype),
          [
            saved.sums?.plain ?? output.buffer,
            dOutput.buffer,
            saved.stats,
            saved.sums?.active ?? given(null),
            rows,
            tauTerms,
          ],
          params,
          linearGrid(Math.ceil(rowCount / 64)),
        );
        if (dtau !== null) rt.run('headSum', headSum, [tauTerms, dtau], [batch, heads, queryLength], [heads]);
        const operands = [q.buffer, k.buffer, v.buffer, dOutput.buffer, rows, given(bias)];
        rt.run(
          `attention/gradQuery/${nameOf(variant)}`,
          () => attentionGradQuery(variant),
          [...operands, dq, partial],
          params,
          [queryTiles, heads, batch],
        );
        if (dbias !== null) {
          rt.run(
            'attention/biasSum',
            attentionBiasSum,
            [partial, dbias],
            [heads, window, width, batch, queryTiles],
            linearGrid(Math.ceil((heads * window) / 64)),
          );
        }
        rt.run(`attention/gradKey/${nameOf(variant)}`, () => attentionGradKey(variant), [...operands, dk, dv], params, [
          Math.ceil(keyLength / variant.tile.keys),
          kvHeads,
          batch,
        ]);
      });
      return { dq, dk, dv, dbias, dtau };
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

/** Distances of the bias that pairs can have. */
const biasWidth = ({ window, keyLength }: AttentionSizes): number => Math.min(window, keyLength);
