import { type Backend, ValueError } from '@lazy-attention/core';
import type { Case } from '../case.ts';
import { ConformanceError } from '../compare.ts';
import { assertNothingLeft } from '../evaluate.ts';

const CHECKS: Readonly<Record<string, (backend: Backend) => void | Promise<void>>> = {
  scopes_keep_only_what_they_return: async (backend) => {
    const kept = backend.scope(() => {
      const x = backend.full([3], 2);
      return { deep: [backend.mul(x, x)] };
    });
    const values = await kept.deep[0].data();
    if (values.join() !== '4,4,4')
      throw new ConformanceError(`what a scope returned reads ${values.join()}, not 4,4,4`);
    if (backend.memory().tensors < 1) throw new ConformanceError('a returned tensor is not counted as alive');
    kept.deep[0].dispose();
  },
  views_share_memory: (backend) => {
    const x = backend.zeros([4, 6]);
    const { bytes } = backend.memory();
    const view = backend.reshape(x, [24]);
    if (backend.memory().bytes !== bytes) throw new ConformanceError('reshape took memory');
    x.dispose();
    if (backend.memory().bytes !== bytes) throw new ConformanceError('memory went although a view still needs it');
    view.dispose();
  },
  saved_attention_outlives_its_inputs: async (backend) => {
    const x = backend.tensor(
      Array.from({ length: 40 }, (_, i) => Math.sin(i)),
      [1, 5, 2, 4],
    );
    const { output, saved } = backend.attention(x, x, x);
    const first = backend.attentionGrad(output, saved);
    const second = backend.scope(() => {
      const dy = backend.reshape(output, output.shape);
      x.dispose();
      output.dispose();
      return backend.attentionGrad(dy, saved);
    });
    const [a, b] = [await first.dq.data(), await second.dq.data()];
    if (a.join() !== b.join()) throw new ConformanceError('the second use of saved gave another gradient');
    for (const grads of [first, second]) for (const grad of Object.values(grads)) grad?.dispose();
    saved.dispose();
  },
  many_small_tensors: async (backend) => {
    const total = backend.scope(() => {
      let sum = backend.zeros([16]);
      const one = backend.full([16], 1);
      for (let i = 0; i < 300; i++) sum = backend.scope(() => backend.add(sum, one));
      return sum;
    });
    const values = await total.data();
    if (values.some((value) => value !== 300)) throw new ConformanceError(`300 additions of 1 gave ${values.join()}`);
    total.dispose();
  },
  work_is_done_in_order: async (backend) => {
    const target = backend.zeros([8, 4]);
    const reads = [];
    for (let i = 0; i < 8; i++) {
      const row = backend.full([1, 4], i + 1);
      backend.copyInto(target, row, 0, i);
      // The row is given back while the copy may still be queued.
      row.dispose();
      reads.push(target.data());
    }
    const results = await Promise.all(reads);
    for (const [i, values] of results.entries()) {
      const rows = Array.from({ length: 8 }, (_, r) => values[4 * r]);
      const wanted = rows.map((_, r) => (r <= i ? r + 1 : 0));
      if (rows.join() !== wanted.join())
        throw new ConformanceError(`read ${i} saw ${rows.join()}, not ${wanted.join()}`);
    }
    target.dispose();
  },
  host_data_is_copied: async (backend) => {
    const host = Float32Array.of(1, 2, 3);
    const x = backend.tensor(host, [3]);
    host.fill(9);
    const first = await x.data();
    const seen = first.join();
    first.fill(7);
    const second = await x.data();
    x.dispose();
    if (seen !== '1,2,3' || second.join() !== '1,2,3') {
      throw new ConformanceError(`a tensor changed with the host's array: ${seen}, then ${second.join()}`);
    }
  },
  many_are_read_and_written_in_order: async (backend) => {
    const tensors = [backend.full([2, 2], 1), backend.full([], 2), backend.full([3], 3)];
    const [row] = tensors;
    const before = new Float32Array(8);
    const after = new Float32Array(8);
    const first = backend.readInto(tensors, before);
    const ones = backend.full([1, 2], 9);
    backend.copyInto(row, ones, 0, 1);
    const { version } = row;
    const second = backend.readInto(tensors, after);
    await Promise.all([first, second]);
    if (before.join() !== '1,1,1,1,2,3,3,3' || after.join() !== '1,1,9,9,2,3,3,3') {
      throw new ConformanceError(`read ${before.join()} before a write and ${after.join()} after it`);
    }
    const written = backend.writeFrom(tensors, Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    const sum = backend.add(row, row);
    await written;
    const values = [...(await sum.data()), ...(await tensors[1].data()), ...(await tensors[2].data())];
    if (values.join() !== '2,4,6,8,5,6,7,8') throw new ConformanceError(`what was written reads ${values.join()}`);
    if (row.version === version) throw new ConformanceError('a tensor that was written says that it was not');
    for (const tensor of [...tensors, ones, sum]) tensor.dispose();
  },
  arrays_may_be_transferred_meanwhile: async (backend) => {
    const x = backend.full([4096], 3);
    const target = new Float32Array(x.size);
    const read = backend.readInto([x], target);
    structuredClone(target.buffer, { transfer: [target.buffer] });
    const outcome = await read.then(
      () => 'nothing was refused',
      (error: unknown) => (error instanceof ValueError ? '' : String(error)),
    );
    if (outcome !== '') throw new ConformanceError(`readInto an array that was transferred: ${outcome}`);
    const source = new Float32Array(x.size).fill(5);
    const write = backend.writeFrom([x], source);
    structuredClone(source.buffer, { transfer: [source.buffer] });
    await write;
    const values = await x.data();
    x.dispose();
    if (values.some((value) => value !== 5)) throw new ConformanceError('writeFrom lost an array that was transferred');
  },
  shared_memory_is_read_and_written: async (backend) => {
    // Pages that are not isolated have none.
    if (typeof SharedArrayBuffer === 'undefined') return;
    const x = backend.full([100], 3);
    const shared = new Float32Array(new SharedArrayBuffer(4 * x.size));
    await backend.readInto([x], shared);
    if (shared.some((value) => value !== 3)) throw new ConformanceError('readInto did not fill shared memory');
    await backend.writeFrom([x], shared.fill(7));
    const values = await x.data();
    x.dispose();
    if (values.some((value) => value !== 7)) throw new ConformanceError('writeFrom did not take shared memory');
  },
  synchronize_waits: async (backend) => {
    const x = backend.full([64, 64], 0.5);
    const y = backend.matmul(x, x);
    await backend.synchronize();
    for (const tensor of [x, y]) tensor.dispose();
  },
};

/** Ownership and order, each with a check that nothing is left. */
export const memory: readonly Case[] = Object.entries(CHECKS).map(([name, check]) => ({
  name: `memory ${name}`,
  op: 'memory',
  direction: 'forward',
  dtype: 'f32',
  run: async (backend) => {
    const before = backend.memory();
    await check(backend);
    assertNothingLeft(backend, before);
  },
}));
