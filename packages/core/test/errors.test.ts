import { beforeAll, expect, it } from 'vitest';
import { type Backend, LazyAttentionError, type Tensor } from '../src/index.ts';
import { stub } from './stub.ts';

let backend: Backend;
let other: Backend;
const f = (...shape: number[]): Tensor => backend.zeros(shape);
const i = (values: number[], ...shape: number[]): Tensor => backend.tensor(Int32Array.from(values), shape);
const q = () => f(2, 3, 4, 8);
const k = () => f(2, 5, 2, 8);

beforeAll(() => {
  backend = stub('stub').backend;
  other = stub('elsewhere').backend;
});

/** One entry per mistake; its message is a snapshot, so that every change of wording is looked at. */
const mistakes: Record<string, () => unknown> = {
  'tensor: element count': () => backend.tensor(new Float32Array(5), [2, 3]),
  'tensor: shape with zero': () => backend.zeros([2, 0]),
  'tensor: fractional size': () => backend.zeros([1.5]),
  'tensor: too large': () => backend.zeros([65536, 65536]),
  'tensor: no such type': () => backend.zeros([1], 'f8' as 'f32'),
  'tensor: type the backend lacks': () => backend.zeros([1], 'bf16'),
  'tensor: f64 data': () => backend.tensor(new Float64Array(1), [1]),
  'tensor: fractional index': () => backend.tensor([1.5], [1], 'i32'),
  'full: infinite index': () => backend.full([1], Number.NaN, 'i32'),
  'reshape: count': () => backend.reshape(f(2, 3), [7]),
  'cast: index': () => backend.cast(i([1], 1), 'f32'),
  'slice: beyond': () => backend.slice(f(2, 3), 1, 1, 4),
  'slice: axis': () => backend.slice(f(2, 3), 2, 0, 1),
  'slice: empty': () => backend.slice(f(2, 3), 0, 1, 1),
  'copyInto: shape': () => backend.copyInto(f(2, 3), f(3, 1), 1, 0),
  'copyInto: beyond': () => backend.copyInto(f(2, 3), f(2, 2), 1, 2),
  'add: shape': () => backend.add(f(2), f(3)),
  'add: type': () => backend.add(i([1], 1), i([1], 1)),
  'add: not a tensor': () => backend.add(f(1), 3 as unknown as Tensor),
  'add: other backend': () => backend.add(f(1), other.zeros([1])),
  'add: other instance': () => backend.add(f(1), stub('stub').backend.zeros([1])),
  'add: disposed': () => {
    const gone = f(1);
    gone.dispose();
    return backend.add(f(1), gone);
  },
  'scale: NaN': () => backend.scale(f(1), Number.NaN),
  'sumSquares: none': () => backend.sumSquares([]),
  'matmul: inner': () => backend.matmul(f(2, 3), f(2, 3)),
  'matmul: batch': () => backend.matmul(f(2, 3, 4), f(3, 4, 5)),
  'matmul: one axis': () => backend.matmul(f(3), f(3, 4)),
  'matmul: shared b transposed a': () => backend.matmul(f(2, 3, 4), f(3, 4), { transposeA: true }),
  'matmul: unknown option': () => backend.matmul(f(1, 1), f(1, 1), { transpose: true } as object),
  'matmul: accumulate shape': () => backend.matmul(f(2, 3), f(3, 4), { accumulate: f(2, 3) }),
  'rmsNorm: weight': () => backend.rmsNorm(f(2, 3), f(2)),
  'rmsNorm: epsilon': () => backend.rmsNorm(f(2, 3), f(3), { epsilon: 0 }),
  'rope: axes': () => backend.rope(f(2, 3, 4)),
  'rope: offset': () => backend.rope(f(1, 1, 1, 4), { offset: -1 }),
  'rope: odd': () => backend.rope(f(1, 1, 1, 3)),
  'embedding: beyond vocabulary': () => backend.embedding(f(4, 2), i([0, 4], 2)),
  'embedding: type': () => backend.embedding(f(4, 2), f(2)),
  'crossEntropy: target': () => backend.crossEntropy(f(2, 4), i([0, -1], 2)),
  'crossEntropy: all ignored': () => backend.crossEntropy(f(2, 4), i([-100, -100], 2)),
  'crossEntropy: shape': () => backend.crossEntropy(f(2, 4), i([0], 1)),
  'adamw: step': () => backend.adamw([], { learningRate: 1, step: 0 }),
  'adamw: beta': () => backend.adamw([], { learningRate: 1, step: 1, beta2: 1 }),
  'adamw: shape': () => backend.adamw([{ param: f(2), grad: f(3), m: f(2), v: f(2) }], { learningRate: 1, step: 1 }),
  'attention: heads': () => backend.attention(f(2, 64, 8, 32), f(2, 64, 3, 32), f(2, 64, 3, 32)),
  'attention: head size': () => backend.attention(f(1, 1, 1, 6), f(1, 1, 1, 6), f(1, 1, 1, 6)),
  'attention: axes': () => backend.attention(f(2, 3, 4), k(), k()),
  'attention: batch': () => backend.attention(q(), f(1, 5, 2, 8), f(1, 5, 2, 8)),
  'attention: v': () => backend.attention(q(), k(), f(2, 5, 4, 8)),
  'attention: more queries than keys': () => backend.attention(f(2, 6, 4, 8), k(), k()),
  'attention: bias': () => backend.attention(q(), k(), k(), { bias: f(2, 7) }),
  'attention: tau': () => backend.attention(q(), k(), k(), { tau: f(2) }),
  'attention: starts type': () => backend.attention(q(), k(), k(), { starts: f(2, 3) }),
  'attention: starts shape': () => backend.attention(q(), k(), k(), { starts: i([0, 0], 2, 1) }),
  'attention: starts beyond': () => backend.attention(q(), k(), k(), { starts: i([0, 0, 0, 0, 4, 4], 2, 3) }),
  'attention: starts negative': () => backend.attention(q(), k(), k(), { starts: i([-1, 0, 0, 0, 0, 0], 2, 3) }),
  'attention: starts decreasing': () => backend.attention(q(), k(), k(), { starts: i([0, 0, 0, 1, 2, 1], 2, 3) }),
  'attention: keyLength': () => backend.attention(q(), k(), k(), { keyLength: 6 }),
  'attention: partly filled cache': () => backend.attention(q(), k(), k(), { keyLength: 4 }),
  'attention: scale': () => backend.attention(q(), k(), k(), { scale: Number.POSITIVE_INFINITY }),
  'attention: unknown option': () => backend.attention(q(), k(), k(), { window: 3 } as object),
  'attentionGrad: shape': () => backend.attentionGrad(f(1), backend.attention(q(), k(), k()).saved),
  'attentionGrad: not saved': () => backend.attentionGrad(q(), {} as never),
  'elasticSoftmax: axes': () => backend.elasticSoftmax(f(2, 3)),
};

it.each(Object.keys(mistakes))('%s', (name) => {
  let caught: unknown;
  try {
    mistakes[name]();
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(LazyAttentionError);
  const { name: type, code, message } = caught as LazyAttentionError;
  expect({ type, code, message }).toMatchSnapshot();
});
