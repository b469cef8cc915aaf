import type { Backend, MatmulOptions, Ops, Tensor } from '@lazy-attention/core';
import type { Params } from '@lazy-attention/nn';

/** Added and taken away again, it rounds an f32 of up to 2^22 to the nearest integer: 1.5 * 2^23. */
const ROUNDER = 12_582_912;

/** Largest integer of a symmetric format with so many bits: 127 for 8, 7 for 4. */
function levels(bits: number): number {
  return 2 ** (bits - 1) - 1;
}

/**
 * Round to nearest, symmetric: x -> round(x / step) * step with step = max|x| / (2^(bits-1) - 1), one step for each row of
 * `rowLength` values. A row of zeros stays.
 */
export function roundToNearest(values: Float32Array, rowLength: number, bits: number): Float32Array {
  const rounded = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += rowLength) {
    const row = values.subarray(start, start + rowLength);
    const step = row.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / levels(bits);
    for (let i = 0; i < row.length; i++) rounded[start + i] = step === 0 ? 0 : Math.round(row[i] / step) * step;
  }
  return rounded;
}

/** Copies of all parameters, with the weights of Linear layers [out, in] rounded, one step for each output. The caller disposes them. */
export async function quantisedWeights(backend: Backend, params: Params, bits: number): Promise<Params> {
  const copies: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(params)) {
    const values = Float32Array.from(await tensor.data());
    const kept = isLinear(name, tensor) ? roundToNearest(values, tensor.shape[1], bits) : values;
    copies[name] = backend.tensor(kept, tensor.shape, 'f32');
  }
  return copies;
}

/** The embedding and attention's bias are tables that are looked up, not multiplied. */
function isLinear(name: string, { shape }: Tensor): boolean {
  return shape.length === 2 && name.endsWith('.weight') && !name.includes('embeddings');
}

/**
 * `ops` in which products with a weight [out, in] see their activations rounded, with one step for the whole tensor: a single
 * massive activation then takes the levels from all others.
 */
export function quantisedActivations(ops: Ops, bits: number): Ops {
  const matmul = (x: Tensor, w: Tensor, options: MatmulOptions = {}): Tensor => {
    if (w.shape.length !== 2 || options.transposeB !== true) return ops.matmul(x, w, options);
    const rounded = ops.scope(() => roundedTensor(ops, x, bits));
    const y = ops.matmul(rounded, w, options);
    rounded.dispose();
    return y;
  };
  return new Proxy(ops, {
    get(target, name) {
      if (name === 'matmul') return matmul;
      // One launch for a whole layer would go past the rounding.
      if (name === 'decoder') return undefined;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

function roundedTensor(ops: Ops, x: Tensor, bits: number): Tensor {
  const { backend } = x;
  const constant = (value: number) => backend.full([], value, x.dtype);
  // The floor keeps the step of a tensor of zeros from being 0; it is far below any activation.
  const largest = ops.binary('max', ops.reduce('max', ops.unary('abs', x)), constant(1e-30));
  const step = ops.binary('mul', largest, constant(1 / levels(bits)));
  const shifted = ops.binary('add', ops.binary('div', x, step), constant(ROUNDER));
  return ops.binary('mul', ops.binary('sub', shifted, constant(ROUNDER)), step);
}
