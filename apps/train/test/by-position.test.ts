import { readFileSync, writeFileSync } from 'node:fs';
import { createBackend } from '@lazy-attention/core';
import { IGNORE_INDEX } from '@lazy-attention/data';
import { lazyTransformer } from '@lazy-attention/nn';
import { expect, it } from 'vitest';
import { lossByPosition } from '../src/training/by-position.ts';
import { meanLoss } from '../src/training/evaluate.ts';
import { run, TINY, temporary } from './helpers.ts';

it('losses by position add up to the loss', async () => {
  const backend = await createBackend('reference');
  const model = lazyTransformer({ vocabSize: 11, hiddenSize: 16, numHeads: 2, numLayers: 1, context: 40 });
  const params = model.init(backend, 1);
  const tokens = Int32Array.from({ length: 80 }, (_, i) => (i * 7) % 11);
  const targets = tokens.map((_, i) => (i % 5 === 3 ? IGNORE_INDEX : tokens[(i + 1) % 80]));
  const count = targets.filter((target) => target !== IGNORE_INDEX).length;
  const batches = [{ tokens, targets, starts: null, batch: 2, length: 40, count }];
  const bands = await lossByPosition(backend, model, params, batches, { joined: false });
  const byTwos = await lossByPosition(backend, model, params, batches, { joined: false, lossRows: 2 });
  for (const [i, { loss }] of byTwos.entries()) expect(loss).toBeCloseTo(bands[i].loss as number, 6);
  expect(bands.map(({ from, to }) => to - from)).toEqual([...Array(13).fill(3), 1]);
  const countOf = ({ from, to }: { from: number; to: number }) =>
    targets.filter((target, i) => target !== IGNORE_INDEX && i % 40 >= from && i % 40 < to).length;
  const nats = bands.reduce((sum, band) => sum + (band.loss ?? 0) * countOf(band), 0);
  expect(nats / count).toBeCloseTo(await meanLoss(backend, model, params, batches), 6);
  await backend.dispose();
});

it('eval tries a run on more tokens than it was trained on, position by position', async () => {
  const out = `${temporary()}/run`;
  expect((await run('train', ...TINY, '--out', out)).code).toBe(0);
  const args = ['--backend', 'reference', '--windows', '2', '--context', '64', '--by-position', '--json'];
  const { code, stdout, stderr } = await run('eval', out, ...args);
  expect(code, stderr).toBe(0);
  const { byPosition } = JSON.parse(stdout) as { byPosition: { from: number; to: number; loss: number }[] };
  expect(byPosition).toHaveLength(16);
  expect(byPosition.at(-1)).toMatchObject({ from: 60, to: 64, loss: expect.any(Number) });
});

it('inspect runs a run as it was trained: documents joined or isolated', async () => {
  const [data, out] = [`${temporary()}/lines.jsonl`, `${temporary()}/run`];
  const line = (i: number) => `${JSON.stringify({ text: `document ${i} ${'abc '.repeat(i % 5)}` })}\n`;
  writeFileSync(data, Array.from({ length: 200 }, (_, i) => line(i)).join(''));
  expect((await run('train', data, ...TINY, '--documents', 'joined', '--out', out)).code).toBe(0);
  const inspect = async () => {
    const args = ['--backend', 'reference', '--windows', '2', '--context', '16', '--json'];
    const { code, stdout, stderr } = await run('inspect', out, data, ...args);
    expect(code, stderr).toBe(0);
    return (JSON.parse(stdout) as { loss: number }).loss;
  };
  const joined = await inspect();
  const record = `${out}/run.json`;
  writeFileSync(record, readFileSync(record, 'utf8').replace('"documents": "joined"', '"documents": "isolated"'));
  expect(await inspect()).not.toBe(joined);
});
