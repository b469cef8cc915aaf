import type { Backend, Ops, Tensor } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { disposeParams, type Params, valueAndGrad } from '../src/index.ts';
import { gradientErrors, noise, numbers, reference, scalar } from './helpers.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await reference();
});
afterAll(() => backend.dispose());

type Fn = (ops: Ops, p: Record<string, Tensor>) => Tensor;

/** A scalar that depends on every element of x, each differently. */
const reduce = (ops: Ops, x: Tensor) => ops.sum(ops.mul(x, noise(backend, x.shape, 99)));

async function expectGradients(shapes: Record<string, readonly number[]>, fn: Fn): Promise<void> {
  const before = backend.memory().tensors;
  const params = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [name, noise(backend, shape, i + 1)]),
  );
  const errors = await gradientErrors(backend, params, fn, 12);
  for (const [name, error] of Object.entries(errors)) expect(error, name).toBeLessThan(1e-6);
  disposeParams(params);
  expect(backend.memory().tensors).toBe(before);
}

describe('gradients against central differences in f64', () => {
  const starts = () => backend.tensor(new Int32Array([0, 0, 0, 3, 3, 0, 1, 1, 2, 2]), [2, 5]);
  const cases: Record<string, [Record<string, readonly number[]>, Fn]> = {
    reshape: [{ x: [2, 6] }, (ops, { x }) => reduce(ops, ops.reshape(x, [3, 4]))],
    'cast to the same type': [{ x: [2, 3] }, (ops, { x }) => reduce(ops, ops.add(ops.cast(x, 'f64'), x))],
    slice: [{ x: [3, 5, 2] }, (ops, { x }) => reduce(ops, ops.slice(x, 1, 1, 4))],
    'slice from the end': [{ x: [3, 5] }, (ops, { x }) => reduce(ops, ops.slice(x, -1, 2, 3))],
    add: [{ a: [2, 3], b: [2, 3] }, (ops, { a, b }) => reduce(ops, ops.add(a, b))],
    'add of one tensor to itself': [{ a: [2, 3] }, (ops, { a }) => reduce(ops, ops.add(a, a))],
    mul: [{ a: [2, 3], b: [2, 3] }, (ops, { a, b }) => reduce(ops, ops.mul(a, b))],
    'mul of one tensor with itself': [{ a: [2, 3] }, (ops, { a }) => reduce(ops, ops.mul(a, a))],
    scale: [{ x: [2, 3] }, (ops, { x }) => reduce(ops, ops.scale(x, -2.5))],
    sum: [{ x: [2, 3] }, (ops, { x }) => ops.mul(ops.sum(x), ops.sum(x))],
    matmul: [{ a: [4, 3], b: [3, 5] }, (ops, { a, b }) => reduce(ops, ops.matmul(a, b))],
    'matmul, a transposed': [
      { a: [3, 4], b: [3, 5] },
      (ops, { a, b }) => reduce(ops, ops.matmul(a, b, { transposeA: true })),
    ],
    'matmul, b transposed': [
      { a: [4, 3], b: [5, 3] },
      (ops, { a, b }) => reduce(ops, ops.matmul(a, b, { transposeB: true })),
    ],
    'matmul, both transposed': [
      { a: [3, 4], b: [5, 3] },
      (ops, { a, b }) => reduce(ops, ops.matmul(a, b, { transposeA: true, transposeB: true })),
    ],
    'matmul, batched and transposed': [
      { a: [2, 3, 4], b: [2, 5, 3] },
      (ops, { a, b }) => reduce(ops, ops.matmul(a, b, { transposeA: true, transposeB: true })),
    ],
    'matmul, shared b': [{ a: [2, 2, 4, 3], b: [3, 5] }, (ops, { a, b }) => reduce(ops, ops.matmul(a, b))],
    'matmul, shared b transposed': [
      { a: [2, 4, 3], b: [5, 3] },
      (ops, { a, b }) => reduce(ops, ops.matmul(a, b, { transposeB: true })),
    ],
    'matmul of one tensor with itself': [
      { a: [4, 4] },
      (ops, { a }) => reduce(ops, ops.matmul(a, a, { transposeB: true })),
    ],
    'several products of one input, whose gradients accumulate': [
      { x: [2, 3, 4], u: [5, 4], v: [5, 4], w: [4, 5] },
      (ops, { x, u, v, w }) =>
        reduce(
          ops,
          ops.add(
            ops.mul(ops.matmul(x, u, { transposeB: true }), ops.matmul(x, v, { transposeB: true })),
            ops.matmul(x, w),
          ),
        ),
    ],
    'matmul with accumulate': [
      { x: [2, 3, 4], w: [4, 4], a: [2, 3, 4] },
      (ops, { x, w, a }) => {
        const residual = ops.mul(a, a);
        return reduce(ops, ops.matmul(ops.mul(residual, x), w, { accumulate: ops.mul(residual, x) }));
      },
    ],
    'two terms of a sum, to one of which more is added in place': [
      { x: [3, 3], w: [3, 3] },
      (ops, { x, w }) => {
        const [a, b] = [ops.mul(x, x), ops.mul(x, w)];
        const p = ops.matmul(a, w);
        return ops.add(reduce(ops, ops.add(a, b)), reduce(ops, ops.mul(p, p)));
      },
    ],
    rmsNorm: [{ x: [2, 3, 4], w: [4] }, (ops, { x, w }) => reduce(ops, ops.rmsNorm(x, w, { epsilon: 1e-3 }))],
    rope: [{ x: [2, 3, 2, 4] }, (ops, { x }) => reduce(ops, ops.rope(x, { offset: 5, base: 100 }))],
    'attention with everything': [
      { q: [2, 5, 4, 8], k: [2, 5, 2, 8], v: [2, 5, 2, 8], bias: [4, 3], tau: [4] },
      (ops, { q, k, v, bias, tau }) =>
        reduce(ops, ops.attention(q, k, v, { bias, tau, starts: starts(), scale: 0.7 }).output),
    ],
    'attention, softmax': [
      { q: [1, 3, 2, 4], k: [1, 5, 2, 4], v: [1, 5, 2, 4] },
      (ops, { q, k, v }) => reduce(ops, ops.attention(q, k, v).output),
    ],
    elasticSoftmax: [
      { scores: [2, 3, 5, 5], tau: [3] },
      (ops, { scores, tau }) => reduce(ops, ops.elasticSoftmax(scores, { tau, starts: starts() })),
    ],
    swiglu: [{ gate: [2, 3], up: [2, 3] }, (ops, { gate, up }) => reduce(ops, ops.swiglu(gate, up))],
    embedding: [
      { weight: [5, 3] },
      (ops, { weight }) => reduce(ops, ops.embedding(weight, backend.tensor(new Int32Array([0, 3, 3, 4]), [2, 2]))),
    ],
    crossEntropy: [
      { logits: [4, 5] },
      (ops, { logits }) => ops.crossEntropy(logits, backend.tensor(new Int32Array([1, -100, 4, 0]), [4])).loss,
    ],
    'an unused parameter': [{ x: [3], y: [2, 2] }, (ops, { x }) => ops.sum(ops.mul(x, x))],
    'a parameter as the result': [{ x: [] }, (_, { x }) => x],
  };
  for (const [name, [shapes, fn]] of Object.entries(cases)) it(name, () => expectGradients(shapes, fn));
});

describe('the tape', () => {
  it('casts gradients back to the type of the parameter', async () => {
    const x = backend.tensor([0.1, 0.2, 0.3], [3]);
    const { value, grads } = valueAndGrad(backend, (ops, { x }: { x: Tensor }) => ops.sum(ops.cast(x, 'bf16')))({ x });
    expect(value.dtype).toBe('f32');
    expect(grads.x.dtype).toBe('f32');
    expect(await numbers(grads.x)).toEqual([1, 1, 1]);
  });

  it('gives what plain ops give and passes further arguments on', async () => {
    const params = { w: noise(backend, [3, 3], 1) };
    const fn = (ops: Ops, { w }: { w: Tensor }, x: Tensor, factor: number) =>
      ops.sum(ops.scale(ops.matmul(x, w), factor));
    const x = noise(backend, [2, 3], 2);
    const { value } = valueAndGrad(backend, fn)(params, x, 3);
    expect(await scalar(value)).toBe(await scalar(fn(backend, params, x, 3)));
  });

  it('lets fn dispose what it no longer uses', async () => {
    const fn =
      (dispose: boolean) =>
      (ops: Ops, { x, w }: { x: Tensor; w: Tensor }) => {
        const y = ops.matmul(x, w);
        const z = ops.swiglu(y, y);
        if (dispose) y.dispose();
        const n = ops.mul(z, z);
        if (dispose) z.dispose();
        return ops.sum(n);
      };
    const params = { x: noise(backend, [2, 3], 1), w: noise(backend, [3, 3], 2) };
    const [eager, lazy] = [true, false].map((dispose) => valueAndGrad(backend, fn(dispose))(params));
    expect(await numbers(eager.grads.w)).toEqual(await numbers(lazy.grads.w));
  });

  it('leaves value and gradients alive and nothing else', () => {
    const params = { x: noise(backend, [2, 3], 1), w: noise(backend, [3, 3], 2) };
    const before = backend.memory();
    const { value, grads } = valueAndGrad(backend, (ops, { x, w }: typeof params) => reduce(ops, ops.matmul(x, w)))(
      params,
    );
    expect(backend.memory().tensors).toBe(before.tensors + 3);
    value.dispose();
    disposeParams(grads);
    expect(backend.memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });

  it('frees activations during the sweep: gradients take the place of activations', async () => {
    const local = await reference();
    const depth = 20;
    const params = Object.fromEntries(Array.from({ length: depth }, (_, i) => [`w${i}`, noise(local, [64, 64], i)]));
    const x = noise(local, [64, 64], 99);
    valueAndGrad(local, (ops, p: Params) => {
      let y = ops.scale(x, 1);
      for (const w of Object.values(p)) {
        const next = ops.matmul(y, w);
        y.dispose();
        y = next;
      }
      return ops.sum(y);
    })(params);
    const unit = 64 * 64 * 8;
    // The weights and x; at any time one activation or one gradient of a weight per layer; and a few under way.
    expect(local.memory().peakBytes).toBeLessThan((2 * depth + 6) * unit);
    await local.dispose();
  });

  it('does not let gradients share memory', () => {
    const params = { a: noise(backend, [2], 1), b: noise(backend, [2], 2) };
    const { grads } = valueAndGrad(backend, (ops, { a, b }: typeof params) => ops.sum(ops.add(a, b)))(params);
    expect(backend.bufferOf(grads.a)).not.toBe(backend.bufferOf(grads.b));
  });

  it('computes no gradient for constants', () => {
    const constant = noise(backend, [4, 4], 1);
    const matmul = vi.spyOn(backend, 'matmul');
    valueAndGrad(backend, (ops, { w }: { w: Tensor }) => ops.sum(ops.matmul(constant, w)))({
      w: noise(backend, [4, 4], 2),
    });
    expect(matmul).toHaveBeenCalledTimes(2);
    matmul.mockRestore();
  });

  it('leaves an accumulated tensor as it was and refuses its later use', async () => {
    const params = { w: noise(backend, [2, 2], 1) };
    const step = valueAndGrad(backend, (ops, { w }: typeof params) => {
      const acc = ops.mul(w, w);
      ops.matmul(w, w, { accumulate: acc });
      return ops.sum(acc);
    });
    expect(() => step(params)).toThrow(/sum: x was given to matmul as accumulate; use the tensor that matmul returned/);
  });
});

describe('errors', () => {
  const throwing = (fn: (ops: Ops, params: Params) => unknown, params?: Params) => {
    const own = { x: noise(backend, [2], 1) };
    const before = backend.memory().tensors;
    const call = () => valueAndGrad(backend, fn as (ops: Ops, p: Params) => Tensor)(params ?? own);
    expect(call).toThrowErrorMatchingSnapshot();
    expect(backend.memory().tensors).toBe(before);
    own.x.dispose();
  };
  it('a result that is no scalar', () => throwing((ops, { x }) => ops.scale(x, 2)));
  it('a result that is no tensor', () => throwing(() => 3));
  it('a promise', () => throwing(async (ops, { x }) => ops.sum(x)));
  it('a result that fn disposed', () =>
    throwing((ops, { x }) => {
      const y = ops.sum(x);
      y.dispose();
      return y;
    }));
  it('a scope of the backend inside fn', () => throwing((ops, { x }) => ops.sum(backend.scope(() => ops.mul(x, x)))));
  it('an integer parameter', () => throwing((ops, { x }) => ops.sum(x), { x: backend.tensor(new Int32Array(2), [2]) }));
  it('a disposed parameter', () => {
    const x = noise(backend, [2], 1);
    x.dispose();
    throwing((ops) => ops.sum(x), { x });
  });
  it('one tensor under two names', () => {
    const x = noise(backend, [2], 1);
    throwing((ops) => ops.sum(x), { x, y: x });
  });
  it('lse in another op', () =>
    throwing((ops, { x }) => {
      const { lse } = ops.crossEntropy(ops.reshape(x, [1, 2]), backend.tensor(new Int32Array([0]), [1]));
      return ops.sum(lse);
    }));
  it('attention with save: false on a variable', () => {
    const q = noise(backend, [1, 2, 1, 4], 1);
    throwing((ops, p) => ops.sum(ops.attention(p.q, q, q, { save: false }).output), { q });
  });
  it('ops used after fn has returned', () => {
    let escaped: Ops | undefined;
    const x = noise(backend, [2], 1);
    valueAndGrad(backend, (ops, p: { x: Tensor }) => {
      escaped = ops;
      return ops.sum(p.x);
    })({ x });
    expect(() => escaped?.sum(x)).toThrowErrorMatchingSnapshot();
  });
  it('a tensor of another backend', async () => {
    const other = await reference();
    const y = noise(other, [2], 1);
    throwing((ops, { x }) => ops.sum(ops.add(x, y)));
    throwing(() => other.sum(y));
    throwing((ops, { x }) => ops.sum(x), { x: y });
    await other.dispose();
  });
});
