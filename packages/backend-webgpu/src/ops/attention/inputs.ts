import { type AttentionInputs, PER_HEAD_NAMES, type PerHeadInput } from '@lazy-attention/core';
import type { DeviceBuffer } from '../../device/buffers.ts';
import type { Runtime } from '../../device/runtime.ts';
import { ABSENT, type OPTIONAL_PARAMS } from '../../wgsl/attention-optional.ts';
import { moveRows } from '../../wgsl/move.ts';
import { elementGrid, withScratch } from '../shared.ts';

type Given = Partial<Pick<AttentionInputs<DeviceBuffer>, 'bias' | PerHeadInput | 'starts'>>;

/** Inputs that may be absent as kernels with OPTIONAL_PARAMS take them: something to bind for each, and which are there. */
export interface OptionalInputs {
  readonly bias: { readonly bias: DeviceBuffer };
  readonly perHead: { readonly perHead: DeviceBuffer };
  readonly starts: { readonly starts: DeviceBuffer };
  readonly params: Readonly<Record<keyof typeof OPTIONAL_PARAMS, number>>;
}

/** Calls `fn` with the inputs, of which the bias has `window` columns. Several inputs [H] are copied together meanwhile. */
export function withOptionalInputs<T>(
  rt: Runtime,
  given: Given,
  window: number,
  fn: (optional: OptionalInputs) => T,
): T {
  const there = PER_HEAD_NAMES.flatMap((name) => {
    const tensor = given[name];
    return tensor ? [{ name, tensor }] : [];
  });
  const heads = there[0]?.tensor.shape[0] ?? 0;
  const places = Object.fromEntries(PER_HEAD_NAMES.map((name) => [`${name}At`, ABSENT]));
  for (const [i, { name }] of there.entries()) places[`${name}At`] = i * heads;
  const params = { ...places, window: given.bias ? window : 0, hasStarts: given.starts ? 1 : 0 };
  const optional = (perHead: DeviceBuffer): OptionalInputs => ({
    bias: { bias: given.bias?.buffer ?? rt.absent() },
    perHead: { perHead },
    starts: { starts: given.starts?.buffer ?? rt.absent() },
    params: params as OptionalInputs['params'],
  });
  if (there.length < 2) return fn(optional(there[0]?.tensor.buffer ?? rt.absent()));
  return withScratch(rt, [there.length * heads], (perHead) => {
    for (const [i, { tensor }] of there.entries()) {
      const view = { units: heads, viewLength: there.length * heads, inner: 1, start: i * heads, count: heads };
      const buffers = { x: tensor.buffer, y: perHead };
      rt.run(moveRows, { unit: 'u32', direction: 'insert' }, { buffers, params: view, grid: elementGrid(heads) });
    }
    return fn(optional(perHead));
  });
}
