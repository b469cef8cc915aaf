import type { Backend, Tensor } from '@lazy-attention/core';

/**
 * `starts` [B, L] of rows from position `offset` on, moved up so that a row attends `window` keys at most, itself included.
 * Undefined where the window cuts nothing off: `starts` serves as it is. The caller disposes the result.
 */
export function windowedStarts(
  backend: Backend,
  starts: Tensor | null | undefined,
  rows: { readonly batch: number; readonly length: number; readonly offset: number },
  window: number | null,
): Tensor | undefined {
  const { batch, length, offset } = rows;
  if (window === null || offset + length <= window) return undefined;
  const given = starts?.indexValues();
  const moved = Int32Array.from({ length: batch * length }, (_, i) =>
    Math.max(given?.[i] ?? 0, offset + (i % length) - window + 1),
  );
  return backend.tensor(moved, [batch, length]);
}
