import type { AttentionInputs } from '@lazy-attention/core';
import type { DeviceBuffer } from '../../device/buffers.ts';
import type { Runtime } from '../../device/runtime.ts';
import { DECODE_KEYS, DECODE_SPLIT, decodeOutput, decodeScores, headClassOf } from '../../wgsl/attention-decode.ts';
import { splitSum } from '../../wgsl/sums.ts';
import { elementGrid, scalarOf, withScratch } from '../shared.ts';
import { type OptionalInputs, withOptionalInputs } from './inputs.ts';

/** Attention of one query per sequence, without gradient: scores, weights and parts of the output, their sum. */
export function decode(rt: Runtime, inputs: AttentionInputs<DeviceBuffer>, output: DeviceBuffer): void {
  withOptionalInputs(rt, inputs, inputs.sizes.window, (optional) => decodeWith(rt, inputs, optional, output));
}

function decodeWith(
  rt: Runtime,
  inputs: AttentionInputs<DeviceBuffer>,
  { bias, perHead, starts, params: optional }: OptionalInputs,
  output: DeviceBuffer,
): void {
  const { sizes, scale, q, k, v } = inputs;
  const { batch, keyLength, keyCapacity, heads, kvHeads, headDim } = sizes;
  const type = scalarOf(q.dtype);
  const variant = { headClass: headClassOf(headDim), type };
  const params = { keyLength, keyCapacity, heads, kvHeads, headDim, ...optional, scale };
  const rows = batch * heads;
  const partCount = Math.ceil(keyLength / DECODE_KEYS);
  const splits = Math.ceil(keyLength / DECODE_SPLIT);
  const floats = [rows * keyLength, rows * partCount * 2, rows * splits * headDim];
  withScratch(rt, floats, (scores, parts, outputs) => {
    rt.run(decodeScores, variant, {
      buffers: { q: q.buffer, k: k.buffer, scores, parts, ...bias, ...starts },
      params,
      grid: [partCount, heads, batch],
    });
    rt.run(decodeOutput, variant, {
      buffers: { v: v.buffer, scores, parts, outputs, ...perHead, ...starts },
      params,
      grid: [splits, heads, batch],
    });
    const elements = rows * headDim;
    rt.run(
      splitSum,
      { type },
      {
        buffers: { partial: outputs, result: output },
        params: { elements, size: headDim, splits, accumulate: 0 },
        grid: elementGrid(elements),
      },
    );
  });
}
