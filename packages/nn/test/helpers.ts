import { type Backend, createBackend, type Ops, type Tensor } from '@lazy-attention/core';
import { type Params, valueAndGrad } from '../src/index.ts';
import { uniform } from '../src/random.ts';

export const reference = (): Promise<Backend> => createBackend('reference');

/** Values in [-1, 1) in f64, from a seed. */
export function noise(backend: Backend, shape: readonly number[], seed: number): Tensor {
  const random = uniform(seed, 'noise');
  const size = shape.reduce((product, n) => product * n, 1);
  return backend.tensor(
    Float64Array.from({ length: size }, () => 2 * random() - 1),
    shape,
  );
}

export async function numbers(x: Tensor): Promise<number[]> {
  return Array.from(await x.data());
}

export async function scalar(x: Tensor): Promise<number> {
  return (await x.data())[0];
}

/** Largest |a - b| relative to the largest |b|; NaN when anything is. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.NaN;
  let difference = 0;
  let largest = 1e-30;
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i] - expected[i]);
    if (Number.isNaN(d)) return d;
    difference = Math.max(difference, d);
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return difference / largest;
}

/**
 * Compares the tape's gradient of `fn` with central differences in f64, in `samples` elements of each parameter. Returns the
 * largest |difference| / max(1, |gradient|), by parameter.
 */
export async function gradientErrors<P extends Params>(
  backend: Backend,
  params: P,
  fn: (ops: Ops, params: P) => Tensor,
  samples = 6,
): Promise<Record<string, number>> {
  const h = 1e-5;
  const { value, grads } = valueAndGrad(backend, fn)(params);
  value.dispose();
  const errors: Record<string, number> = {};
  for (const [name, tensor] of Object.entries(params)) {
    const data = Float64Array.from(await tensor.data());
    const gradient = await (grads as Params)[name].data();
    const stride = Math.max(1, Math.floor(data.length / samples));
    let worst = 0;
    for (let i = 0; i < data.length; i += stride) {
      const at = async (x: number) => {
        const moved = data.slice();
        moved[i] = x;
        const tensors: Tensor[] = [];
        const result = backend.scope(() => {
          tensors.push(backend.tensor(moved, tensor.shape));
          return fn(backend, { ...params, [name]: tensors[0] });
        });
        const y = await scalar(result);
        result.dispose();
        return y;
      };
      const slope = ((await at(data[i] + h)) - (await at(data[i] - h))) / (2 * h);
      const error = Math.abs(slope - gradient[i]) / Math.max(1, Math.abs(slope));
      if (!(error <= worst)) worst = error;
    }
    errors[name] = worst;
    (grads as Params)[name].dispose();
  }
  return errors;
}
