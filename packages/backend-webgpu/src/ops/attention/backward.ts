import {
  type AttentionInputs,
  elementCount,
  type Kernels,
  type Learned,
  learnedGrads,
  PER_HEAD_NAMES,
  perHead,
} from '@lazy-attention/core';
import type { DeviceBuffer } from '../../device/buffers.ts';
import type { Runtime } from '../../device/runtime.ts';
import { stripBiasSum, stripDiagonals, stripSoftmaxGrad } from '../../wgsl/attention-rows.ts';
import { GROUP } from '../../wgsl/attention-strip.ts';
import { cast, ELEMENTWISE_THREADS } from '../../wgsl/elementwise.ts';
import { headSum } from '../../wgsl/sums.ts';
import { allocate, elementGrid, type GpuTensor, runPointwise, scalarOf, withScratch } from '../shared.ts';
import type { StripBlock } from './blocks.ts';
import type { SavedAttention } from './forward.ts';
import { groupsOf, type Strips, withStrips } from './strips.ts';

/** The sums of a gradient in the type of what it belongs to; takes them over. */
function inTypeOf(rt: Runtime, tensor: GpuTensor, sums: DeviceBuffer): DeviceBuffer {
  const to = scalarOf(tensor.dtype);
  if (to === 'f32') return sums;
  const result = allocate(rt, tensor.shape, tensor.dtype);
  runPointwise(rt, cast, { from: 'f32', to }, { x: sums, y: result }, elementCount(tensor.shape));
  rt.release(sums);
  return result;
}

/** dbias (+)= sums of ds at each distance, over the block. `partial` has room for `biasWidth` sums per group of rows. */
function addBias(
  rt: Runtime,
  strips: Strips,
  block: StripBlock,
  grads: DeviceBuffer,
  partial: DeviceBuffer,
  dbias: DeviceBuffer,
): void {
  const params = strips.params(block, 1, block !== strips.blocks[0]);
  const biases = params.heads * params.window;
  rt.run(
    stripDiagonals,
    {},
    {
      buffers: { grads, partial, ...strips.optional.starts },
      params,
      grid: [Math.ceil(params.biasWidth / ELEMENTWISE_THREADS), Math.ceil(block.rowCount / GROUP), block.headCount],
    },
  );
  rt.run(stripBiasSum, {}, { buffers: { partial, dbias }, params: { ...params, biases }, grid: elementGrid(biases) });
}

/** Where the gradients go: dq in its type, the others in f32. */
interface Sums extends Learned<DeviceBuffer | null> {
  readonly dq: DeviceBuffer;
  readonly dkSum: DeviceBuffer;
  readonly dvSum: DeviceBuffer;
}

/** spec §Backward, block by block: scores and g, rows, then dq, dk, dv and dbias; at the end the gradients of inputs [H]. */
function backward(
  rt: Runtime,
  strips: Strips,
  dOutput: GpuTensor,
  { sizes, scale, q, k, v }: AttentionInputs<DeviceBuffer>,
  saved: SavedAttention,
  into: Sums,
): void {
  const { batch, heads, queryLength, keyLength, window } = sizes;
  const { optional } = strips;
  const { dq, dkSum, dvSum } = into;
  const biasParts = Math.max(1, Math.min(window, keyLength) * Math.max(...strips.blocks.map(groupsOf)));
  const rows = batch * heads * queryLength;
  const scratch = [strips.largest, strips.largest, PER_HEAD_NAMES.length * rows, biasParts];
  withScratch(rt, scratch, (strip, grads, terms, partial) => {
    for (const block of strips.blocks) {
      strips.scores(block, scale, q.buffer, k.buffer, strip);
      strips.scores(block, 1, dOutput.buffer, v.buffer, grads);
      rt.run(
        stripSoftmaxGrad,
        {},
        {
          buffers: {
            strip,
            grads,
            stats: saved.stats,
            terms,
            ...optional.bias,
            ...optional.perHead,
            ...optional.starts,
          },
          params: strips.params(block),
          grid: [block.rowCount, block.headCount],
        },
      );
      strips.rows(block, scale, grads, k.buffer, dq);
      strips.columns(block, scale, grads, q.buffer, dkSum);
      strips.columns(block, 1, strip, dOutput.buffer, dvSum);
      if (into.bias !== null) addBias(rt, strips, block, grads, partial, into.bias);
    }
    for (const [first, name] of PER_HEAD_NAMES.entries()) {
      const result = into[name];
      if (result === null) continue;
      const params = { first, step: PER_HEAD_NAMES.length, batch, heads, length: queryLength };
      rt.run(headSum, {}, { buffers: { terms, result }, params, grid: [heads] });
    }
  });
}

/** Attention's gradient by score strips. */
export function backwardKernels(
  rt: Runtime,
  stripBytes: number,
): Pick<Kernels<DeviceBuffer, SavedAttention>, 'attentionGrad'> {
  return {
    attentionGrad(dOutput, inputs, _output, saved) {
      const { q, k, v } = inputs;
      const { heads, window } = inputs.sizes;
      const dq = allocate(rt, q.shape, q.dtype);
      const dbias = inputs.bias === null ? null : rt.acquire(heads * window * 4);
      const sums = perHead((name) => (inputs[name] === null ? null : rt.acquire(heads * 4)));
      // Sums over blocks stay in f32.
      const dkSum = allocate(rt, k.shape, 'f32');
      const dvSum = allocate(rt, v.shape, 'f32');
      const into: Sums = { dq, dkSum, dvSum, bias: dbias, ...sums };
      withStrips(rt, inputs, stripBytes, (strips) => backward(rt, strips, dOutput, inputs, saved, into));
      const grads = learnedGrads((name) => into[name]);
      return { dq, dk: inTypeOf(rt, k, dkSum), dv: inTypeOf(rt, v, dvSum), ...grads };
    },
  };
}
