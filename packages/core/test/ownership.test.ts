import { describe, expect, it } from 'vitest';
import { DisposedError, LazyAttentionError, ValueError } from '../src/index.ts';
import { stub } from './stub.ts';

describe('ownership', () => {
  it('counts tensors and bytes and gives memory back once', () => {
    const { backend, live } = stub();
    const a = backend.zeros([2, 3]);
    const view = backend.reshape(a, [6]);
    expect(backend.memory()).toEqual({ tensors: 2, bytes: 24, peakBytes: 24 });
    a.dispose();
    a.dispose();
    expect(live.size).toBe(1);
    expect(backend.memory()).toEqual({ tensors: 1, bytes: 24, peakBytes: 24 });
    view[Symbol.dispose]();
    expect(live.size).toBe(0);
    expect(backend.memory()).toEqual({ tensors: 0, bytes: 0, peakBytes: 24 });
  });

  it('scope keeps what is returned, however deep, and disposes the rest', () => {
    const { backend, live } = stub();
    const kept = backend.scope(() => {
      const a = backend.zeros([4]);
      const b = backend.add(a, a);
      const c = backend.mul(a, b);
      backend.scale(c, 2);
      return { list: [b], map: new Map([['c', c]]) };
    });
    expect(live.size).toBe(2);
    expect(kept.list[0].disposed).toBe(false);
    expect(kept.map.get('c')?.disposed).toBe(false);
  });

  it('a nested scope hands its result to the outer one', () => {
    const { backend, live } = stub();
    backend.scope(() => {
      backend.scope(() => backend.zeros([1]));
      expect(live.size).toBe(1);
    });
    expect(live.size).toBe(0);
  });

  it('a scope with many tensors, most of them disposed early, keeps and disposes as a short one does', () => {
    const { backend, live } = stub();
    const held = backend.zeros([1]);
    const kept = backend.scope(() => {
      const first = backend.zeros([1]);
      for (let i = 0; i < 5000; i++) {
        const x = backend.zeros([1]);
        if (i % 3 !== 0) x.dispose();
      }
      held.dispose();
      expect(first.scope).toHaveLength(1 + Math.ceil(5000 / 3)); // nothing that is disposed stays reachable
      return [first, backend.zeros([1])];
    });
    expect(kept.map((x) => x.disposed)).toEqual([false, false]);
    expect(live.size).toBe(2);
    expect(backend.memory()).toMatchObject({ tensors: 2, bytes: 8 });
  });

  it('a returned tensor that was disposed stays disposed', () => {
    const { backend, live } = stub();
    backend.scope(() => {
      const gone = backend.scope(() => {
        const x = backend.zeros([1]);
        x.dispose();
        return x;
      });
      expect(gone.disposed).toBe(true);
    });
    expect(live.size).toBe(0);
    expect(backend.memory()).toMatchObject({ tensors: 0, bytes: 0 });
  });

  it('scope cleans up after an exception and refuses promises', () => {
    const { backend, live } = stub();
    expect(() =>
      backend.scope(() => {
        backend.zeros([1]);
        throw new RangeError('mine');
      }),
    ).toThrow(RangeError);
    expect(() => backend.scope(async () => backend.zeros([1]))).toThrow(LazyAttentionError);
    expect(live.size).toBe(0);
  });

  it('saved attention keeps its inputs alive and frees them', () => {
    const { backend, live } = stub();
    const [q, k, v] = [0, 1, 2].map(() => backend.zeros([1, 2, 1, 4]));
    const { output, saved } = backend.attention(q, k, v);
    for (const x of [q, k, v, output]) x.dispose();
    expect(live.size).toBe(5);
    expect(backend.memory().bytes).toBe(4 * 32 + 100);
    const grads = backend.attentionGrad(backend.zeros([1, 2, 1, 4]), saved);
    expect(grads.dbias).toBeUndefined();
    saved.dispose();
    saved.dispose();
    expect(live.size).toBe(4);
    expect(() => backend.attentionGrad(grads.dq, saved)).toThrow(DisposedError);
  });

  it('attention without save keeps nothing', () => {
    const { backend, live } = stub();
    const { output, saved } = backend.scope(() => {
      const x = backend.zeros([1, 2, 1, 4]);
      return backend.attention(x, x, x, { save: false });
    });
    expect(live.size).toBe(1);
    expect(() => backend.attentionGrad(output, saved)).toThrow(ValueError);
  });

  it('matmul with accumulate returns the same tensor and makes no other', () => {
    const { backend, live } = stub();
    const a = backend.zeros([2, 2]);
    const out = backend.zeros([2, 2]);
    expect(backend.matmul(a, a, { accumulate: out })).toBe(out);
    expect(live.size).toBe(2);
  });

  it('gradients that core composes leave nothing behind', () => {
    const { backend, live } = stub();
    const x = backend.zeros([2, 3, 4]);
    const w = backend.zeros([5, 4]);
    const dy = backend.zeros([2, 3, 5]);
    const { da, db } = backend.matmulGrad(dy, x, w, { transposeB: true });
    expect([da.shape, db.shape]).toEqual([
      [2, 3, 4],
      [5, 4],
    ]);
    expect(live.size).toBe(5);
    expect(() => backend.sliceGrad(dy, [2, 3, 4], 2, 0)).toThrow();
    expect(live.size).toBe(5);
  });

  it('a disposed backend refuses work but lets tensors be disposed', async () => {
    const { backend } = stub();
    const x = backend.zeros([1]);
    await backend.dispose();
    await backend.dispose();
    expect(() => backend.zeros([1])).toThrow(DisposedError);
    await expect(x.data()).rejects.toThrow(DisposedError);
    x.dispose();
  });

  it('index tensors know their values through slices, copies and views', () => {
    const { backend } = stub();
    const ids = backend.tensor(Int32Array.of(0, 1, 2, 3, 4, 5), [2, 3]);
    const weight = backend.zeros([4, 8]);
    backend.embedding(weight, backend.slice(ids, 0, 0, 1));
    expect(() => backend.embedding(weight, backend.slice(ids, 1, 1, 3))).toThrow(/holds 4 at element 2/);
    backend.copyInto(ids, backend.full([1, 3], 3, 'i32'), 0, 1);
    backend.embedding(weight, backend.reshape(ids, [6]));
  });
});
