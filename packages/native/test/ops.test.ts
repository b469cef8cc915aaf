import { UnsupportedError } from '@lazy-attention/core';
import { expect, test } from 'vitest';
import type { Launch, NativeContext, NativeField, NativeOp } from '../src/addon.ts';
import type { NativeBuffer } from '../src/buffers.ts';
import { MismatchError, nativeOps } from '../src/ops.ts';

const field = (name: string, kind: NativeField['kind'], names: readonly string[] = []): NativeField => ({
  name,
  kind,
  names,
});
const op = (name: string, fields: NativeField[], outputs: string[] = ['out'], choices: string[] = []): NativeOp => ({
  name,
  fields,
  choices,
  outputs,
});

const DTYPE = field('dtype', 'dtype', ['f32', 'bf16', 'f16', 'i32']);
const OPS: readonly NativeOp[] = [
  op('cast', [field('x', 'tensor'), DTYPE]),
  op('scale', [field('x', 'tensor'), field('factor', 'number')]),
  op('unary', [field('x', 'tensor')], ['out'], ['exp', 'log']),
  op('window', [
    field('x', 'tensor'),
    field('mask', 'optional'),
    field('sizes', 'axes'),
    field('count', 'number'),
    DTYPE,
  ]),
  op('pairGrad', [field('dy', 'tensor'), field('xs', 'tensors')], ['da', 'db']),
  op('stack', [field('layers', 'each', ['weight', 'bias'])], []),
];

/** Ops of a binary that writes down what it is called with and gives out the number 9. */
function fake() {
  const calls: unknown[][] = [];
  const launch: Launch = (...values) => {
    calls.push(values);
    return 9;
  };
  const functions = { exp: launch, log: launch };
  const context: Pick<NativeContext, 'launch' | 'outputs' | 'axes' | 'axesRoom' | 'dtypes' | 'packedDtypes'> = {
    launch: Object.fromEntries(OPS.map(({ name }) => [name, name === 'unary' ? functions : launch])),
    outputs: Float64Array.of(5, 0, 0),
    axes: new Float64Array(18),
    axesRoom: 9,
    dtypes: ['f32', 'i32'],
    packedDtypes: [],
  };
  const hold = (id: number): NativeBuffer => ({ id, watched: false });
  return { calls, axes: context.axes, ops: nativeOps(OPS, context as NativeContext, hold) };
}

const tensor = (id: number) => ({ buffer: { id, watched: false }, shape: [2], dtype: 'f32' as const });

test('a positional launch is the binary’s own where the orders agree, and puts arguments into its order where not', () => {
  const { ops, calls } = fake();
  ops.positional('scale', 'x', 'factor')(3, 0.5);
  ops.positional('scale', 'factor', 'x')(0.5, 3);
  expect(calls).toEqual([
    [3, 0.5],
    [3, 0.5],
  ]);
});

test('fields that the binary has not, or not alone, are refused when they are named', () => {
  const { ops } = fake();
  const both = /^the binary's op 'scale' takes \(x, factor\); JavaScript gives \(x(, factor, bias)?\)$/;
  expect(() => ops.positional('scale', 'x')).toThrow(both);
  expect(() => ops.positional('scale', 'x', 'factor', 'bias')).toThrow(both);
  expect(() => ops.positional('scale', 'x', 'factors')).toThrow(MismatchError);
  expect(() => ops.positional('shear', 'x')).toThrow("the binary has no op 'shear'; it has cast, scale,");
  expect(() => ops.family('unary', ['exp', 'erf'], 'x')).toThrow('has no function erf; it has exp, log');
  expect(() => ops.named('scale')({ x: tensor(3) })).toThrow("op 'scale' of the binary takes 'factor' too");
});

test('an op is a kernel without being written out: arguments in order, records by name, axes aside', () => {
  const { ops, calls, axes } = fake();
  const { window, pairGrad } = ops.kernels();
  const out = window?.(tensor(3), null, { count: 2, sizes: [4, 5], shape: [20] }, 'i32');
  expect(calls.at(-1)).toEqual([3, 0, 2, 3]);
  expect([...axes.subarray(0, 3)]).toEqual([2, 4, 5]);
  expect(out).toMatchObject({ id: 9 });
  expect(pairGrad?.(tensor(3), [tensor(4), tensor(6)])).toMatchObject({ da: { id: 5 }, db: null });
  expect(calls.at(-1)).toEqual([3, Int32Array.of(4, 6)]);
});

test('a kernel that is called with other arguments than its fields says which it takes', () => {
  const { ops } = fake();
  const { scale } = ops.kernels();
  expect(() => scale?.(tensor(3))).toThrow("op 'scale' of the binary takes (x, factor)");
  expect(() => fake().ops.kernels().scale?.(tensor(3), 2, 3)).toThrow(
    "op 'scale' of the binary takes (x, factor) alone",
  );
});

test('entries of a list give their tensors in the binary’s order, 0 for those that are absent', () => {
  const { ops, calls } = fake();
  ops.named('stack')({
    layers: [
      { bias: null, weight: tensor(3) },
      { bias: tensor(5), weight: tensor(4) },
    ],
  });
  expect(calls).toEqual([[Int32Array.of(3, 0, 4, 5)]]);
});

test('element types that the device lacks are refused by name', () => {
  const { ops } = fake();
  expect(ops.dtype('i32')).toBe(3);
  expect(() => ops.dtype('bf16')).toThrow(UnsupportedError);
  expect(() => ops.dtype('bf16')).toThrow("element type 'bf16' is not one that this device has: f32, i32");
});
