import type { Ops } from '@lazy-attention/core';

/**
 * Runs a forward pass so that one that fails half-way leaves nothing alive. On a tape the tape sees to that; with an
 * observer there is no scope, since what the observer makes is its own.
 */
export function scoped<T>(ops: Ops, observe: unknown, fn: () => T): T {
  return observe === undefined ? ops.scope(fn) : fn();
}
