import { type Backend, elementCount, ValueError } from '@lazy-attention/core';
import type { Params } from '../params.ts';
import { normal, uniform } from '../random.ts';
import type { ParameterSpecs } from './parameters.ts';

/** How parameters begin. */
export interface InitOptions {
  /** Type of the parameters; f64 is for the reference backend. Default f32. */
  readonly dtype?: 'f32' | 'f64';
}

/**
 * Initial values as in flash-linear-attention: normal(0, initStd) for every Linear weight and the embedding, without a
 * smaller scale for the projections into the residual stream; ones for norms. Each parameter has a random stream of its own,
 * named after it, so its values depend on the seed, its name and its shape only.
 */
export function initialize(
  backend: Backend,
  specs: ParameterSpecs,
  initStd: number,
  seed: number,
  options: InitOptions,
): Params {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ValueError(`init: seed is ${seed}; expected an integer from 0`);
  const { dtype = 'f32' } = options;
  if (dtype !== 'f32' && dtype !== 'f64') throw new ValueError(`init: dtype is '${dtype}'; expected 'f32' or 'f64'`);
  return backend.scope(() =>
    Object.fromEntries(
      Object.entries(specs).map(([name, { shape, init }]) => [
        name,
        init === 'normal'
          ? backend.tensor(normal(elementCount(shape), initStd, uniform(seed, name)), shape, dtype)
          : backend.full(shape, init, dtype),
      ]),
    ),
  );
}
