import { createKernels } from '@lazy-attention/backend-reference';
import { Backend, type Kernels, type Ops, type Tensor, ValueError } from '@lazy-attention/core';
import { describe, expect, it } from 'vitest';
import { valueAndGrad } from '../src/index.ts';

const backend = new Backend(createKernels() as Kernels);

type Loss = (ops: Ops, w: Tensor) => Tensor;

/** What a backward pass reads, written between the op and the sweep. */
const WRITES: Readonly<Record<string, Loss>> = {
  'ids of an embedding': (ops, w) => {
    const ids = backend.tensor(Int32Array.of(0, 1), [2]);
    const rows = ops.embedding(w, ids);
    backend.copyInto(ids, backend.full([1], 5000, 'i32'), 0, 0);
    return ops.sum(rows);
  },
  'targets of a loss': (ops, w) => {
    const targets = backend.tensor(Int32Array.of(0, 1), [2]);
    const { loss } = ops.crossEntropy(w, targets);
    backend.copyInto(targets, backend.full([1], 1, 'i32'), 0, 0);
    return loss;
  },
  'starts of an attention': (ops, w) => {
    const q = ops.reshape(w, [1, 2, 1, 4]);
    const starts = backend.zeros([1, 2], 'i32');
    const { output } = ops.attention(q, q, q, { starts });
    backend.copyInto(starts, backend.full([1, 1], 1, 'i32'), 1, 1);
    return ops.sum(output);
  },
  'a factor of a product': (ops, w) => {
    const factor = backend.full([2, 4], 2);
    const product = ops.mul(w, factor);
    backend.copyInto(factor, backend.full([1, 4], 9), 0, 0);
    return ops.sum(product);
  },
};

describe('a gradient is refused when what it reads has been written in place', () => {
  it.for(Object.entries(WRITES))('%s', ([, loss]) => {
    const before = backend.memory();
    backend.scope(() => {
      const w = backend.full([2, 4], 0.5);
      const call = () => valueAndGrad(backend, (ops, params: { w: Tensor }) => loss(ops, params.w))({ w });
      expect(call).toThrow(ValueError);
      expect(call).toThrow(/written in place/);
    });
    expect(backend.memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
});
