import type { Backend, Tensor } from '@lazy-attention/core';
import type { ObservedAttention } from '../observe.ts';

/** What is kept of a forward pass until it is measured. */
export interface Held {
  readonly attentions: { readonly layer: number; readonly call: ObservedAttention }[];
  readonly residuals: HeldResidual[];
}

/** The residual stream as it enters a norm. */
export interface HeldResidual {
  readonly index: number;
  readonly layer: number;
  readonly x: Tensor;
}

/** Views of a call's tensors, for the model may dispose its own. */
export function heldCall(backend: Backend, { q, k, v, options, composed }: ObservedAttention): ObservedAttention {
  const view = (x: Tensor) => backend.reshape(x, x.shape);
  // What is an object among the options is a tensor.
  const kept = Object.fromEntries(
    Object.entries(options).map(([name, value]) => [name, typeof value === 'object' ? view(value) : value]),
  );
  return {
    q: view(q),
    k: view(k),
    v: view(v),
    options: kept,
    ...(composed && { composed: { ...composed, more: composed.more.map(view) } }),
  };
}

/** Gives back all that is held. */
export function release({ attentions, residuals }: Held): void {
  for (const { call } of attentions) {
    for (const x of [call.q, call.k, call.v, ...(call.composed?.more ?? [])]) x.dispose();
    for (const value of Object.values(call.options)) if (typeof value === 'object') value.dispose();
  }
  for (const { x } of residuals) x.dispose();
  attentions.length = 0;
  residuals.length = 0;
}

/** `starts` on the host; null without, or where it is not of this many rows. */
export async function hostStarts(starts: Tensor | undefined, expected: number): Promise<Int32Array | null> {
  if (starts === undefined || starts.size !== expected) return null;
  return (await starts.data()) as Int32Array;
}
