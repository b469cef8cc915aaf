import { type Backend, elementCount, type Shape, type Tensor, ValueError } from '@lazy-attention/core';
import type { Params } from '../params.ts';
import { normal, uniform } from '../random.ts';
import type { Shapes } from './shapes.ts';

export interface InitOptions {
  /** Type of the parameters; f64 is for the reference backend. Default f32. */
  readonly dtype?: 'f32' | 'f64';
}

/**
 * Initial values as in flash-linear-attention: normal(0, initStd) for every Linear weight and the embedding, without a
 * smaller scale for the projections into the residual stream; ones for norms. spec §Shapes and symbols: bias 0, tau -1. Each parameter has
 * a random stream of its own, named after it, so its values depend on the seed, its name and its shape only.
 */
export function initialize(
  backend: Backend,
  shapes: Shapes,
  initStd: number,
  seed: number,
  options: InitOptions,
): Params {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ValueError(`init: seed is ${seed}; expected an integer from 0`);
  const { dtype = 'f32' } = options;
  if (dtype !== 'f32' && dtype !== 'f64') throw new ValueError(`init: dtype is '${dtype}'; expected 'f32' or 'f64'`);
  const make = (name: string, shape: Shape): Tensor => {
    if (name.endsWith('norm.weight')) return backend.full(shape, 1, dtype);
    if (name.endsWith('tau')) return backend.full(shape, -1, dtype);
    if (name.endsWith('bias')) return backend.zeros(shape, dtype);
    return backend.tensor(normal(elementCount(shape), initStd, uniform(seed, name)), shape, dtype);
  };
  return backend.scope(() =>
    Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, make(name, shape)])),
  );
}
