import { Backend, type Tensor } from '@lazy-attention/core';
import { provider } from '../src/index.ts';

export async function cpu(options: Record<string, unknown> = {}): Promise<Backend> {
  return new Backend(await provider.create(options));
}

/** Values between -1 and 1, the same for the same seed. */
export function values(size: number, seed = 1): Float32Array {
  let state = seed * 2654435761;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

export function random(backend: Backend, shape: readonly number[], seed = 1): Tensor {
  return backend.tensor(
    values(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    shape,
  );
}
