import { expect, it } from 'vitest';
import { asTable, RUNTIMES, runtimeMatrix } from '../lib/runtimes.mjs';

const timeout = 1_200_000;

it('this Node trains on every backend that works here, to the loss of the reference', { timeout }, async () => {
  const { runtimes, cells } = await runtimeMatrix(['this Node']);
  expect(runtimes).toEqual([{ runtime: 'this Node', version: process.version }]);
  expect(cells.filter(({ ok }) => ok === false)).toEqual([]);
  expect(cells.find(({ backend }) => backend === 'reference')).toMatchObject({ ok: true });
});

it('so do Node 22, 24 and 25, Deno and Bun', { timeout }, async (context) => {
  if (!process.env.CI) context.skip('downloads 700 MB: node tools/release/runtimes.mjs; CI runs it');
  const matrix = await runtimeMatrix(Object.keys(RUNTIMES).slice(1));
  console.log(asTable(matrix));
  expect(matrix.cells.filter(({ ok }) => ok === false)).toEqual([]);
  const absent = matrix.runtimes.filter((runtime) => runtime.absent !== undefined);
  if (absent.length > 0) context.skip(absent.map((runtime) => `${runtime.runtime}: ${runtime.absent}`).join('; '));
});

it('a runtime that is absent and a backend that fails are told from one that is not here', () => {
  const table = asTable({
    runtimes: [
      { runtime: 'A', version: 'v1' },
      { runtime: 'B', version: null, absent: 'no network' },
    ],
    cells: [
      { runtime: 'A', backend: 'cpu', ok: true, loss: 0.5 },
      { runtime: 'A', backend: 'cuda', ok: null, said: 'no GPU' },
      { runtime: 'A', backend: 'webgpu', ok: false, said: 'crashed' },
    ],
  });
  expect(table.split('\n').slice(2)).toEqual([
    '| A | v1 | 0.500000 | not here | no: crashed |',
    '| B | absent |  |  |  |',
  ]);
});

it('an unknown runtime is an error that names the known', async () => {
  await expect(runtimeMatrix(['Nod'])).rejects.toThrow(/no runtime 'Nod'; known: this Node, Node 22/);
});
