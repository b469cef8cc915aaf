import type { AttentionInputs, AttentionSizes, Kernels, SavedState } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Capabilities, Runtime } from '../device/runtime.ts';
import { attentionBiasSum, attentionDelta, attentionGradKey, attentionGradQuery } from '../wgsl/attention-backward.ts';
import { DECODE_KEYS, DECODE_SPLIT, decodeOutput, decodeScores } from '../wgsl/attention-decode.ts';
import { attentionForward, attentionStats } from '../wgsl/attention-forward.ts';
import { type AttentionTile, type AttentionVariant, QUERIES } from '../wgsl/attention-tile.ts';
import { headSum, splitSum } from '../wgsl/reduce.ts';
import { denseScores, elasticSoftmax, elasticSoftmaxGrad } from '../wgsl/rows.ts';
import { allocate, allocateStatistics, linearGrid, scalarOf, withScratch } from './shared.ts';

/** Row maxima and 1 / sums [B, H, L, 2], and with tau the sums u of SPEC.md "Backward", [B, L, H, D] in f32. */
export interface SavedAttention extends SavedState {
  readonly stats: DeviceBuffer;
  readonly activeSum: DeviceBuffer | null;
}

type AttentionKernels = Pick<
  Kernels<DeviceBuffer, SavedAttention>,
  'attention' | 'attentionGrad' | 'attentionWeights' | 'elasticSoftmax' | 'elasticSoftmaxGrad' | 'freeSaved'
>;

/**
 * GPUs hold 8x4 scores per invocation, which leaves registers for 8x4 outputs and keeps several groups resident. The
 * software rasterisers pay for every read of workgroup memory, so there 8x8. With the least workgroup memory (16 KiB) the
 * tile is half as wide.
 */
export function chooseAttentionTile(capabilities: Capabilities): AttentionTile {
  if (capabilities.sharedBytes < 24576) return { keys: 32, threadKeys: 4 };
  return { keys: 64, threadKeys: capabilities.software ? 8 : 4 };
}

export function attentionKernels(rt: Runtime): AttentionKernels {
  const tile = chooseAttentionTile(rt.capabilities);

  const variantOf = (inputs: AttentionInputs<DeviceBuffer>): AttentionVariant => ({
    headDim: inputs.sizes.headDim,
    dtype: scalarOf(inputs.q.dtype),
    bias: inputs.bias !== null,
    tau: inputs.tau !== null,
    starts: inputs.starts !== null,
    tile,
  });
  const nameOf = ({ headDim, dtype, bias, tau, starts }: AttentionVariant): string =>
    `${headDim}/${dtype}${bias ? '/bias' : ''}${tau ? '/tau' : ''}${starts ? '/starts' : ''}`;

  const paramsOf = (sizes: AttentionSizes, scale: number): number[] => [
    sizes.queryLength,
    sizes.keyLength,
    sizes.keyCapacity,
    sizes.heads,
    sizes.kvHeads,
    sizes.window,
    scale,
    sizes.batch * sizes.queryLength * sizes.heads,
    biasWidth(sizes),
  ];

  const present = (...optional: readonly ({ readonly buffer: DeviceBuffer } | null)[]): DeviceBuffer[] =>
    optional.flatMap((tensor) => (tensor === null ? [] : [tensor.buffer]));

  const forward = (inputs: AttentionInputs<DeviceBuffer>, output: DeviceBuffer, saved: SavedAttention): void => {
    const { sizes, scale, q, k, v, bias, tau, starts } = inputs;
    const variant = variantOf(inputs);
    const params = paramsOf(sizes, scale);
    const grid = [Math.ceil(sizes.queryLength / QUERIES), sizes.heads, sizes.batch] as const;
    const first = { ...variant, tau: false };
    rt.run(
      `attention/stats/${nameOf(first)}`,
      () => attentionStats(first),
      [q.buffer, k.buffer, saved.stats, ...present(bias, starts)],
      params,
      grid,
    );
    const active = saved.activeSum;
    rt.run(
      `attention/forward/${nameOf(variant)}${active === null ? '' : '/active'}`,
      () => attentionForward(variant, active !== null),
      [
        q.buffer,
        k.buffer,
        v.buffer,
        saved.stats,
        output,
        ...(active === null ? [] : [active]),
        ...present(bias, tau, starts),
      ],
      params,
      grid,
    );
  };

  const decode = (inputs: AttentionInputs<DeviceBuffer>, output: DeviceBuffer): void => {
    const { sizes, scale, q, k, v, bias, tau, starts } = inputs;
    const variant = variantOf(inputs);
    const params = paramsOf(sizes, scale);
    const rows = sizes.batch * sizes.heads;
    const parts = Math.ceil(sizes.keyLength / DECODE_KEYS);
    const splits = Math.ceil(sizes.keyLength / DECODE_SPLIT);
    const floats = [rows * sizes.keyLength, rows * parts * 2, rows * splits * sizes.headDim];
    withScratch(rt, floats, (scores, partStats, outputs) => {
      const first = { ...variant, tau: false };
      rt.run(
        `attention/decodeScores/${nameOf(first)}`,
        () => decodeScores(first),
        [q.buffer, k.buffer, scores, partStats, ...present(bias, starts)],
        params,
        [parts, sizes.heads, sizes.batch],
      );
      const second = { ...variant, bias: false };
      rt.run(
        `attention/decodeOutput/${nameOf(second)}`,
        () => decodeOutput(second),
        [v.buffer, scores, partStats, outputs, ...present(tau, starts)],
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
      const stats = rt.acquire(rows * 8);
      const activeSum = save && inputs.tau !== null ? rt.acquire(rows * sizes.headDim * 4) : null;
      const saved = { bytes: stats.size + (activeSum?.size ?? 0), stats, activeSum };
      forward(inputs, output, saved);
      if (save) return { output, saved };
      rt.release(stats);
      return { output, saved: null };
    },

    freeSaved(saved) {
      rt.release(saved.stats);
      if (saved.activeSum !== null) rt.release(saved.activeSum);
    },

    attentionGrad(dOutput, inputs, output, saved) {
      const { sizes, scale, q, k, v, bias, tau, starts } = inputs;
      const { batch, heads, kvHeads, queryLength, keyLength, window, headDim } = sizes;
      const variant = variantOf(inputs);
      // What tau and starts contribute reaches these kernels through the per-row values.
      const inner = { ...variant, tau: false, starts: false };
      const params = paramsOf(sizes, scale);
      const rowCount = batch * heads * queryLength;
      const queryTiles = Math.ceil(queryLength / QUERIES);
      const width = biasWidth(sizes);

      const dq = allocate(rt, q.shape, q.dtype);
      const dk = allocate(rt, k.shape, k.dtype);
      const dv = allocate(rt, v.shape, v.dtype);
      const dbias = bias === null ? null : rt.acquire(heads * window * 4);
      const dtau = tau === null ? null : rt.acquire(heads * 4);

      withScratch(rt, [rowCount * 8], (rows) => {
        withScratch(rt, dtau === null ? [] : [rowCount], (tauTerms) => {
          const byTau =
            tau === null || saved.activeSum === null || tauTerms === undefined
              ? []
              : [saved.activeSum, tau.buffer, tauTerms];
          const delta = { headDim, dtype: variant.dtype, tau: variant.tau, starts: variant.starts };
          rt.run(
            `attention/delta/${nameOf({ ...variant, bias: false })}`,
            () => attentionDelta(delta),
            [output.buffer, dOutput.buffer, saved.stats, rows, ...byTau, ...present(starts)],
            params,
            linearGrid(Math.ceil(rowCount / 64)),
          );
          if (dtau !== null) rt.run('headSum', headSum, [tauTerms, dtau], [batch, heads, queryLength], [heads]);
        });
        const operands = [q.buffer, k.buffer, v.buffer, dOutput.buffer, rows];
        withScratch(rt, dbias === null ? [] : [batch * heads * queryTiles * width], (partial) => {
          rt.run(
            `attention/gradQuery/${nameOf(inner)}`,
            () => attentionGradQuery(inner),
            [...operands, dq, ...(bias === null ? [] : [bias.buffer, partial])],
            params,
            [queryTiles, heads, batch],
          );
          if (dbias === null) return;
          rt.run(
            'attention/biasSum',
            attentionBiasSum,
            [partial, dbias],
            [heads, window, width, batch, queryTiles],
            linearGrid(Math.ceil((heads * window) / 64)),
          );
        });
        rt.run(
          `attention/gradKey/${nameOf(inner)}`,
          () => attentionGradKey(inner),
          [...operands, dk, dv, ...present(bias)],
          params,
          [Math.ceil(keyLength / tile.keys), kvHeads, batch],
        );
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
          `attentionWeights/${type}${bias === null ? '' : '/bias'}`,
          () => denseScores(type, bias !== null),
          [q.buffer, k.buffer, scores, ...present(bias)],
          [pairs, queryLength, keyLength, keyCapacity, heads, kvHeads, headDim, window, scale],
          linearGrid(Math.ceil(pairs / 64)),
        );
        const rows = pairs / keyLength;
        rt.run(
          `elasticSoftmax/f32${flags(tau, starts)}`,
          () => elasticSoftmax('f32', tau !== null, starts !== null),
          [scores, weights, ...present(tau, starts)],
          [rows, keyLength, queryLength, heads],
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
        `elasticSoftmax/${type}${flags(tau, starts)}`,
        () => elasticSoftmax(type, tau !== null, starts !== null),
        [scores.buffer, out, ...present(tau, starts)],
        [rows, keyLength, queryLength, heads],
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
      withScratch(rt, dtau === null ? [] : [rows], (tauTerms) => {
        rt.run(
          `elasticSoftmaxGrad/${type}${flags(tau, starts)}`,
          () => elasticSoftmaxGrad(type, tau !== null, starts !== null),
          [
            dWeights.buffer,
            scores.buffer,
            dscores,
            ...(tau === null ? [] : [tau.buffer, tauTerms]),
            ...present(starts),
          ],
          [rows, keyLength, queryLength, heads],
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

const flags = (tau: object | null, starts: object | null): string =>
  `${tau === null ? '' : '/tau'}${starts === null ? '' : '/starts'}`;
