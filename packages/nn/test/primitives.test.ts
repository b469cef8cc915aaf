import {
  type Backend,
  BINARY_FUNCTIONS,
  type BinaryFunction,
  type CustomOp,
  type Ops,
  REDUCE_FUNCTIONS,
  type Tensor,
  UNARY_FUNCTIONS,
  type UnaryFunction,
} from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { disposeParams, valueAndGrad } from '../src/index.ts';
import { gradientErrors, noise, numbers, reference } from './helpers.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await reference();
});
afterAll(() => backend.dispose());

type Fn = (ops: Ops, p: Record<string, Tensor>) => Tensor;

/** A scalar that depends on every element of x, each differently. */
const total = (ops: Ops, x: Tensor) => ops.sum(ops.mul(x, noise(backend, x.shape, 99)));
/** Values in [low, high). */
const between = (shape: readonly number[], seed: number, low: number, high: number) =>
  backend.scope(() => {
    const x = backend.scale(noise(backend, shape, seed), (high - low) / 2);
    return backend.binary('add', x, backend.full([], (high + low) / 2, 'f64'));
  });

async function expectGradients(make: () => Record<string, Tensor>, fn: Fn): Promise<void> {
  const before = backend.memory().tensors;
  const params = make();
  const errors = await gradientErrors(backend, params, fn, 12);
  for (const [name, error] of Object.entries(errors)) expect(error, name).toBeLessThan(1e-6);
  disposeParams(params);
  expect(backend.memory().tensors).toBe(before);
}

describe('gradients of the primitives against central differences in f64', () => {
  const positive: readonly UnaryFunction[] = ['log', 'sqrt', 'rsqrt', 'reciprocal'];
  it.each(UNARY_FUNCTIONS)('unary %s', (fn) =>
    expectGradients(
      () => ({ x: positive.includes(fn) ? between([3, 4], 1, 0.3, 2) : between([3, 4], 1, -3, 3) }),
      (ops, { x }) => total(ops, ops.unary(fn, x)),
    ),
  );

  it('gelu at 0 has slope one half, and silu too', async () => {
    const x = backend.zeros([2], 'f64');
    for (const fn of ['gelu', 'silu'] as const) {
      const { grads } = valueAndGrad(backend, (ops, { x }: { x: Tensor }) => ops.sum(ops.unary(fn, x)))({ x });
      expect(await numbers(grads.x)).toEqual([0.5, 0.5]);
    }
  });

  const shapes: [string, readonly number[], readonly number[]][] = [
    ['of one shape', [2, 3], [2, 3]],
    ['a row', [2, 3], [3]],
    ['a column and a row', [2, 1], [1, 3]],
    ['a scalar', [], [2, 3]],
    ['leading and inner axes', [4, 1, 3], [2, 1, 5, 1]],
  ];
  const range: Partial<Record<BinaryFunction, readonly [number, number]>> = { div: [0.4, 2], pow: [0.4, 2] };
  for (const fn of BINARY_FUNCTIONS) {
    it.each(shapes)(`binary ${fn}, %s`, (_, a, b) =>
      expectGradients(
        () => {
          const [low, high] = range[fn] ?? [-1, 1];
          return { a: between(a, 1, low, high), b: between(b, 2, low, high) };
        },
        (ops, { a, b }) => total(ops, ops.binary(fn, a, b)),
      ),
    );
  }

  it('max and min share between equals, pow is finite at 0', async () => {
    const grads = async (fn: BinaryFunction, a: number, b: number) => {
      const params = { a: backend.full([], a, 'f64'), b: backend.full([], b, 'f64') };
      const { grads } = valueAndGrad(backend, (ops, { a, b }: typeof params) => ops.binary(fn, a, b))(params);
      return [...(await numbers(grads.a)), ...(await numbers(grads.b))];
    };
    expect(await grads('max', 2, 2)).toEqual([0.5, 0.5]);
    expect(await grads('min', 2, 2)).toEqual([0.5, 0.5]);
    expect(await grads('max', 2, 1)).toEqual([1, 0]);
    expect(await grads('pow', 0, 2)).toEqual([0, 0]);
    expect(await grads('pow', 0, 0)).toEqual([0, 0]);
  });

  const axes: [string, readonly number[] | undefined][] = [
    ['all axes', undefined],
    ['the last axis', [-1]],
    ['the first axis', [0]],
    ['two that are no neighbours', [0, 2]],
  ];
  for (const fn of REDUCE_FUNCTIONS.filter((name) => name !== 'argmax')) {
    it.each(axes)(`reduce ${fn}, %s`, (_, over) =>
      expectGradients(
        () => ({ x: noise(backend, [2, 3, 4], 1) }),
        (ops, { x }) =>
          ops.add(
            total(ops, ops.reduce(fn, x, { axes: over })),
            total(ops, ops.unary('square', ops.reduce(fn, x, { axes: over, keepDims: true }))),
          ),
      ),
    );
  }

  it('reduce argmax records nothing', () => {
    const x = noise(backend, [2, 3], 1);
    const { value } = valueAndGrad(backend, (ops, { x }: { x: Tensor }) => {
      expect(ops.reduce('argmax', x).dtype).toBe('i32');
      return ops.sum(x);
    })({ x });
    expect(value.shape).toEqual([]);
  });

  const ids = (values: number[], shape: readonly number[]) => backend.tensor(new Int32Array(values), shape);
  const rest: Record<string, [Record<string, readonly number[]>, Fn]> = {
    permute: [{ x: [2, 3, 4] }, (ops, { x }) => total(ops, ops.permute(x, [2, 0, 1]))],
    'permute, axes from the end': [{ x: [2, 3, 4] }, (ops, { x }) => total(ops, ops.permute(x, [-1, 0, -2]))],
    'permute that moves nothing, used twice': [
      { x: [2, 3] },
      (ops, { x }) => total(ops, ops.binary('mul', ops.permute(x, [0, 1]), x)),
    ],
    broadcast: [{ x: [3, 1] }, (ops, { x }) => total(ops, ops.broadcast(x, [2, 3, 4]))],
    'broadcast to the same shape': [{ x: [3, 2] }, (ops, { x }) => total(ops, ops.add(ops.broadcast(x, [3, 2]), x))],
    where: [
      { a: [2, 3], b: [3] },
      (ops, { a, b }) => total(ops, ops.where(backend.tensor([1, 0, 1], [3], 'f64'), a, b)),
    ],
    concat: [
      { a: [2, 1, 3], b: [2, 4, 3] },
      (ops, { a, b }) => total(ops, ops.concat([a, noise(backend, [2, 2, 3], 5), b, a], 1)),
    ],
    'concat on the last axis': [{ a: [2, 1], b: [2, 4] }, (ops, { a, b }) => total(ops, ops.concat([a, b], -1))],
    pad: [{ x: [2, 3] }, (ops, { x }) => total(ops, ops.pad(x, -1, 2, 1, 7))],
    gather: [{ x: [5, 3] }, (ops, { x }) => total(ops, ops.gather(x, ids([4, 0, 4, 4], [2, 2]), 0))],
    'gather in the middle': [{ x: [2, 5, 3] }, (ops, { x }) => total(ops, ops.gather(x, ids([1, 3, 1], [3]), 1))],
    'gather on the last axis': [{ x: [2, 5] }, (ops, { x }) => total(ops, ops.gather(x, ids([0, 4], [2, 1]), -1))],
    'a softmax of primitives': [
      { x: [3, 4] },
      (ops, { x }) => {
        const weights = ops.unary('exp', ops.binary('sub', x, ops.reduce('max', x, { axes: [-1], keepDims: true })));
        return total(ops, ops.binary('div', weights, ops.reduce('sum', weights, { axes: [-1], keepDims: true })));
      },
    ],
    'scope, which keeps what the gradient needs': [
      { x: [3, 4] },
      (ops, { x }) =>
        total(
          ops,
          ops.scope(() =>
            ops.unary(
              'exp',
              ops.scope(() => ops.unary('sin', x)),
            ),
          ),
        ),
    ],
  };
  for (const [name, [sizes, fn]] of Object.entries(rest)) {
    it(name, async () => {
      const make = () =>
        Object.fromEntries(Object.entries(sizes).map(([of, shape], i) => [of, noise(backend, shape, i + 1)]));
      const params = make();
      const errors = await gradientErrors(backend, params, fn, 12);
      for (const [of, error] of Object.entries(errors)) expect(error, of).toBeLessThan(1e-6);
      disposeParams(params);
    });
  }
});

describe('custom', () => {
  /** x^3 with its gradient, which reads what forward saved. */
  const cube = (x: Tensor): CustomOp => ({
    inputs: [x],
    forward: (ops, [x]) => {
      const square = ops.unary('square', x);
      return { output: ops.mul(square, x), saved: [square] };
    },
    backward: (ops, dy, { saved: [square] }) => [ops.scale(ops.mul(dy, square), 3)],
  });

  it('has the gradient that it gives', () =>
    expectGradients(
      () => ({ x: noise(backend, [2, 3], 1) }),
      (ops, { x }) => ops.sum(ops.mul(ops.custom(cube(x)), ops.custom(cube(x)))),
    ));

  it('may give dy itself, and nothing for an input', async () => {
    const straightThrough = (x: Tensor, y: Tensor): CustomOp => ({
      inputs: [x, y],
      forward: (ops, [x]) => ops.unary('sign', x),
      backward: (_ops, dy) => [dy, undefined],
    });
    const params = { x: noise(backend, [3], 1), y: noise(backend, [3], 2) };
    const { grads } = valueAndGrad(backend, (ops, { x, y }: typeof params) =>
      ops.sum(ops.custom(straightThrough(x, y))),
    )(params);
    expect(await numbers(grads.x)).toEqual([1, 1, 1]);
    expect(await numbers(grads.y)).toEqual([0, 0, 0]);
  });

  it('says what is wrong with a gradient', () => {
    const wrong = (backward: CustomOp['backward']) => () => {
      const params = { x: noise(backend, [3], 1) };
      valueAndGrad(backend, (ops, { x }: typeof params) =>
        ops.sum(ops.custom({ inputs: [x], forward: (ops, [x]) => ops.scale(x, 2), backward })),
      )(params);
    };
    expect(wrong(() => [])).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: custom: backward returned 0 gradients; expected an array of 1, undefined where an input has none]`,
    );
    expect(wrong((ops) => [ops.zeros([2], 'f64')])).toThrowErrorMatchingInlineSnapshot(
      `[ShapeError: custom: backward's gradient of inputs[0] is f64 [2]; expected that of the input, f64 [3]]`,
    );
    expect(wrong(() => undefined as never)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: custom: backward returned undefined; expected an array of 1, undefined where an input has none]`,
    );
  });
});
