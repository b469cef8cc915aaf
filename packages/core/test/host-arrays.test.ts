import { expect, it } from 'vitest';
import { Backend, type Kernels, type KernelTensor } from '../src/index.ts';
import { stub } from './stub.ts';

it('refuses arrays and tensors that do not fit one another, before a kernel sees them', async () => {
  const { backend, calls } = stub();
  const tensors = [backend.zeros([2, 3]), backend.zeros([])];
  const before = calls.length;
  await expect(backend.readInto(tensors, new Float32Array(6))).rejects.toThrow(
    'readInto: target has 6 elements; the tensors have 7',
  );
  await expect(backend.writeFrom(tensors, [1, 2] as never)).rejects.toThrow(
    'writeFrom: source is a value of type Array; expected a Float32Array',
  );
  const ids = backend.zeros([2], 'i32');
  await expect(backend.readInto([ids], new Float32Array(2))).rejects.toThrow(
    'readInto: tensors[0] is i32; expected f32',
  );
  await expect(stub('other').backend.writeFrom(tensors, new Float32Array(7))).rejects.toThrow('belongs to backend');
  expect(calls.slice(before).filter((call) => call !== 'full')).toEqual([]);
});

it('goes by single reads and copies where the kernels have nothing better', async () => {
  const written: unknown[] = [];
  const { backend: stubbed, live } = stub('plain', ['f32', 'i32'], {
    read: async ({ shape }: KernelTensor) => new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(shape.length),
    copyInto: (target: KernelTensor, source: KernelTensor, view: object) => written.push([target.shape, source, view]),
  });
  // The stub answers every name.
  const lacking = {
    get: (all: Kernels, name: keyof Kernels) => (/^(readInto|writeFrom)$/.test(name) ? undefined : all[name]),
  };
  const backend = new Backend(new Proxy(stubbed.kernels, lacking as ProxyHandler<Kernels>));
  const tensors = [backend.zeros([2, 1]), backend.zeros([3])];
  const target = new Float32Array(5);
  await backend.readInto(tensors, target);
  expect([...target]).toEqual([2, 2, 1, 1, 1]);
  const held = live.size;
  await backend.writeFrom(tensors, target);
  expect(written).toHaveLength(2);
  expect(live.size).toBe(held);
  expect(tensors.map(({ version }) => version)).toEqual([1, 1]);
});
