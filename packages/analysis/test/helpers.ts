import { type Backend, createBackend } from '@lazy-attention/core';
import { afterAll, beforeAll, expect } from 'vitest';

/** A reference backend for the tests of one file, which must leave no tensor behind. */
export function useBackend(): () => Backend {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend('reference');
  });
  afterAll(async () => {
    expect(backend.memory().tensors).toBe(0);
    await backend.dispose();
  });
  return () => backend;
}

/** Deterministic numbers, about normally distributed. */
export function noise(count: number, seed: number): Float32Array {
  let state = seed * 2654435761 + 1;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => uniform() + uniform() + uniform() + uniform() - 2);
}
