import { describe, expect, it } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import {
  BackendMismatchError,
  checkTensor,
  LazyAttentionError,
  OutOfMemoryError,
  ShapeError,
  Tensor,
  ValueError,
} from '../src/index.ts';
import { THIS_COPY, VERSION } from '../src/version.ts';
import { stub } from './stub.ts';

/** What JavaScript without types can do: nothing that was checked may be another thing when it is used. */

describe('a tensor', () => {
  it('keeps its shape, size, type and backend, whatever is assigned', () => {
    const { backend } = stub();
    const x = backend.zeros([2, 3]);
    for (const field of ['shape', 'size', 'dtype', 'backend', 'storage', 'version']) {
      expect(() => Object.assign(x, { [field]: [1000] })).toThrow(TypeError);
    }
    expect(() => Object.assign(x.shape, { 0: 1000 })).toThrow(TypeError);
    expect([x.shape, x.size, x.dtype]).toEqual([[2, 3], 6, 'f32']);
  });

  it('is made by ops alone', () => {
    const { backend } = stub();
    const x = backend.zeros([2]);
    const Class = x.constructor as unknown as new (...args: unknown[]) => Tensor;
    expect(() => new Class({}, backend, x.storage, [5000], 'f32')).toThrow(ValueError);
    expect(() => backend.add(Object.create(Tensor.prototype), x)).toThrow(ValueError);
    expect(() => backend.add({ ...x, shape: [2], storage: x.storage } as never, x)).toThrow(ValueError);
  });

  it('counts writes in place, by any view', () => {
    const { backend } = stub();
    const x = backend.zeros([2, 2]);
    const view = backend.reshape(x, [4]);
    backend.copyInto(view, backend.zeros([1]), 0, 2);
    backend.matmul(backend.zeros([2, 2]), backend.zeros([2, 2]), { accumulate: x });
    expect([x.version, view.version]).toEqual([2, 2]);
    const [grad, m, v] = [0, 1, 2].map(() => backend.zeros([2, 2]));
    backend.adamw([{ param: x, grad, m, v }], { learningRate: 1, step: 1 });
    expect([x, grad, m, v].map(({ version }) => version)).toEqual([3, 0, 1, 1]);
  });
});

describe('what is checked is what is used', () => {
  it('a shape that answers otherwise the second time', () => {
    const { backend } = stub();
    let reads = 0;
    const shape = new Proxy([2, 2], {
      get: (target, key) => (key === '1' && ++reads > 2 ? 5000 : Reflect.get(target, key)),
    });
    const made = backend.tensor([1, 2, 3, 4], shape);
    expect([made.shape, made.size]).toEqual([[2, 2], 4]);
  });

  it('an option that answers otherwise the second time', () => {
    const { backend } = stub();
    const x = backend.zeros([1, 2, 1, 4]);
    const cache = backend.zeros([1, 5, 1, 4]);
    let reads = 0;
    const options = {
      keyLength: 2,
      get save() {
        return reads++ > 0;
      },
    };
    const { output, saved } = backend.attention(x, cache, cache, options);
    expect(() => backend.attentionGrad(output, saved)).toThrow(/save: false/);
  });

  it('flags that are neither true nor false', () => {
    const { backend } = stub();
    const x = backend.zeros([2, 2]);
    const q = backend.zeros([1, 2, 1, 4]);
    expect(() => backend.matmul(x, x, { transposeA: 1 } as never)).toThrow(/transposeA is 1; expected true or false/);
    expect(() => backend.matmulGrad(x, x, x, { transposeB: 'no' } as never)).toThrow(/transposeB is 'no'/);
    expect(() => backend.reduce('sum', x, { keepDims: {} } as never)).toThrow(/keepDims is/);
    expect(() => backend.attention(q, q, q, { save: null } as never)).toThrow(/save is null/);
  });

  it('arrays that lie about their length', () => {
    const { backend } = stub();
    class Short extends Int32Array {
      override get length(): number {
        return 4;
      }
    }
    expect(() => backend.tensor(new Short(1), [4])).toThrow(ShapeError);
    let reads = 0;
    const list = {
      get length() {
        return reads++ === 0 ? 4 : 1;
      },
      0: 1,
    };
    expect(() => backend.tensor(list as never, [4], 'i32')).toThrow(/data/);
    expect(() => backend.tensor([1, 2, [3], null] as never, [4])).toThrow(/data\[2\]/);
    expect(() => backend.tensor(new BigInt64Array(2) as never, [2])).toThrow(/data\[0\] is 0; expected a number/);
  });

  it('indices are a copy of the host data', () => {
    const { backend } = stub();
    const host = Int32Array.of(0, 1);
    const ids = backend.tensor(host, [2]);
    host.fill(5000);
    backend.embedding(backend.zeros([2, 3]), ids);
    (ids.indexValues() as Int32Array).fill(5000);
    expect(ids.indexValues()).toEqual(Int32Array.of(0, 1));
  });

  it('indices whose values the device computed', () => {
    const { backend } = stub();
    const x = backend.zeros([4, 3]);
    const ids = backend.reduce('argmax', x, { axes: [1] });
    expect(ids.indexValues()).toBeNull();
    for (const view of [ids, backend.reshape(ids, [2, 2]), backend.slice(ids, 0, 0, 1), backend.permute(ids, [0])]) {
      expect(() => backend.embedding(x, view)).toThrow(/computed on the device/);
    }
    expect(() => backend.copyInto(backend.zeros([4], 'i32'), ids, 0, 0)).toThrow(/computed on the device/);
    backend.copyInto(ids, backend.zeros([1], 'i32'), 0, 0);
    expect(() => backend.embedding(x, ids)).toThrow(/computed on the device/);
    expect(() => backend.concat([backend.zeros([2], 'i32'), ids], 0)).toThrow(/computed on the device/);
  });
});

it('a device that refuses memory is asked before the host', () => {
  const { backend } = stub('small', ['f32', 'i32'], {
    full: () => {
      throw new OutOfMemoryError('full: no', 1);
    },
  });
  const before = process.memoryUsage().arrayBuffers;
  expect(() => backend.zeros([2 ** 31 - 1], 'i32')).toThrow(OutOfMemoryError);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
});

describe('two copies of core', () => {
  it('are both named when a tensor of one meets the other', async () => {
    const { backend } = stub();
    const here = backend.zeros([2]);
    const there = { [Symbol.for('@lazy-attention/core/tensor')]: '@lazy-attention/core 0.0.9 (file:///elsewhere)' };
    const add = () => backend.add(here, there as never);
    expect(add).toThrow(BackendMismatchError);
    expect(add).toThrow(
      /add: b is a Tensor of another copy of core: it is of .* 0\.0\.9 \(file:\/\/\/elsewhere\), this is/,
    );
    expect(add).toThrow(THIS_COPY);
    expect(() => checkTensor('mine', 'x', 3)).toThrow(/mine: x is 3; expected a Tensor/);
  });

  it("know each other's errors", async () => {
    const path = '../src/errors.ts?copy';
    const copy = (await import(path)) as typeof import('../src/errors.ts');
    expect(copy.ShapeError).not.toBe(ShapeError);
    const error = new copy.OutOfMemoryError('no', 1);
    expect([error instanceof OutOfMemoryError, error instanceof LazyAttentionError]).toEqual([true, true]);
    expect([error instanceof ShapeError, new Error('no') instanceof LazyAttentionError]).toEqual([false, false]);
    class Mine extends ShapeError {}
    expect([new Mine('') instanceof ShapeError, new ShapeError('') instanceof Mine]).toEqual([true, false]);
  });

  it('know their version', () => {
    expect(VERSION).toBe(packageJson.version);
  });
});
