// What each rank runs: sums of f32 and f64 and of tensors, compared with the sum in the order of ranks, and a broadcast.
import { mpiCommunicator } from '@lazy-attention/communicator-mpi';
import { createBackend } from '@lazy-attention/core';

const mpi = mpiCommunicator();
const { rank, size } = mpi;
const value = (r, i) => Math.fround(Math.sin(i * (r + 1)));
let wrong = 0;
for (const Values of [Float32Array, Float64Array]) {
  for (const length of [1, 2, 10_007]) {
    const values = new Values(length).map((_, i) => value(rank, i));
    await mpi.sum(values);
    for (let i = 0; i < length; i++) {
      const sum = new Values([value(0, i)]);
      for (let r = 1; r < size; r++) sum[0] += value(r, i);
      if (sum[0] !== values[i]) wrong++;
    }
  }
}
const backend = await createBackend('reference');
const tensors = [[3, 5], [], [7]].map((shape) => backend.full(shape, rank + 1, 'f32'));
await Promise.all(tensors.map((tensor) => mpi.allReduce(backend, [tensor])));
for (const sum of tensors) {
  for (const element of await sum.data()) if (element !== (size * (size + 1)) / 2) wrong++;
}
const bytes = new TextEncoder().encode(rank === size - 1 ? 'hello' : '.....');
await mpi.broadcast(bytes, size - 1);
await mpi.barrier();
const text = new TextDecoder().decode(bytes);
console.log(JSON.stringify({ rank, size, wrong, text }));
if (wrong > 0 || text !== 'hello') process.exitCode = 1;
await mpi.close();
