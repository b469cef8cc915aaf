import { type Buffer, type RefTensor, store, values } from './storage.ts';

/** silu(gate) * up, with silu(x) = x sigmoid(x). */
export function swiglu(gate: RefTensor, up: RefTensor): Buffer {
  const g = values(gate);
  const u = values(up);
  const y = new Float64Array(g.length);
  for (let i = 0; i < y.length; i++) y[i] = g[i] * sigmoid(g[i]) * u[i];
  return store(y, gate.dtype);
}

/** dup = dy silu(gate); dgate = dy up silu'(gate), with silu' = sigmoid (1 + x (1 - sigmoid)). */
export function swigluGrad(dy: RefTensor, gate: RefTensor, up: RefTensor): { dgate: Buffer; dup: Buffer } {
  const dys = values(dy);
  const g = values(gate);
  const u = values(up);
  const dgate = new Float64Array(g.length);
  const dup = new Float64Array(g.length);
  for (let i = 0; i < g.length; i++) {
    const s = sigmoid(g[i]);
    dup[i] = dys[i] * g[i] * s;
    dgate[i] = dys[i] * u[i] * s * (1 + g[i] * (1 - s));
  }
  return { dgate: store(dgate, gate.dtype), dup: store(dup, up.dtype) };
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
