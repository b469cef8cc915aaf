import type { Backend, UnaryFunction } from '@lazy-attention/core';

const linear = (from: number, to: number, count = 8001): number[] =>
  Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));
const powers = (from: number, to: number, count = 8001): number[] =>
  linear(Math.log(from), Math.log(to), count).map(Math.exp);

/** The whole range of each function in f32; of angles the one that core promises. */
const RANGES: Partial<Record<UnaryFunction, readonly number[]>> = {
  exp: linear(-87, 88.7),
  log: [...powers(1e-37, 3e38), ...linear(0.5, 2)],
  sqrt: powers(1e-37, 3e38),
  rsqrt: powers(1e-37, 3e38),
  sin: linear(-1000, 1000, 40001),
  cos: linear(-1000, 1000, 40001),
  tanh: [...linear(-12, 12), ...powers(1e-30, 1), ...linear(-200, 200)],
  sigmoid: linear(-85, 85),
  silu: linear(-85, 85),
  gelu: [...linear(-12, 8), ...powers(1e-20, 1)],
  reciprocal: powers(1e-37, 1e37),
};

/** Largest relative error of each function (of angles: absolute), and of pow at results from 1e-36 to 1e36. */
export async function functionErrors(on: Backend, oracle: Backend): Promise<Record<string, number>> {
  const errors: Record<string, number> = {};
  const worst = (actual: Float32Array, expected: Float32Array, relative: boolean): number =>
    expected.reduce((most, value, i) => {
      const error = Math.abs(actual[i] - value) / (relative ? Math.abs(value) : 1);
      // A NaN is the worst of all.
      return error <= most ? most : error;
    }, 0);
  for (const [name, range] of Object.entries(RANGES)) {
    const fn = name as UnaryFunction;
    const run = async (backend: Backend) =>
      (await backend.unary(fn, backend.tensor(Float32Array.from(range), [range.length])).data()) as Float32Array;
    errors[fn] = worst(await run(on), await run(oracle), fn !== 'sin' && fn !== 'cos');
  }
  const [bases, exponents] = [powers(1e-6, 1e6, 200), linear(-6, 6, 200)];
  const power = async (backend: Backend) => {
    const base = backend.tensor(Float32Array.from(bases), [bases.length, 1]);
    const exponent = backend.tensor(Float32Array.from(exponents), [exponents.length]);
    return (await backend.binary('pow', base, exponent).data()) as Float32Array;
  };
  errors.pow = worst(await power(on), await power(oracle), true);
  return errors;
}

/** f32 has 6e-8; the tail of gelu and large powers multiply the rounding of an exponent. */
export const ERROR_BOUNDS: Readonly<Record<string, number>> = { gelu: 2e-5, pow: 2e-5 };
export const ERROR_BOUND = 1e-6;
