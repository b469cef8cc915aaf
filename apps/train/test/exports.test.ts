import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createBackend } from '@lazy-attention/core';
import { lazyTransformer } from '@lazy-attention/nn';
import { checkpointState, type Json, loadCheckpoint, saveCheckpoint } from '@lazy-attention/nn/node';
import { expect, it } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { eventFile } from '../src/run/event-file.ts';
import { truncateSamples } from '../src/training/samples.ts';
import { run, TINY, temporary } from './helpers.ts';

/** The fields of a message: [number, wire type, value]. */
function fieldsOf(bytes: Buffer): [number, number, Buffer | number][] {
  const found: [number, number, Buffer | number][] = [];
  let at = 0;
  const varint = () => {
    let [value, scale] = [0, 1];
    for (; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const [number, wire] = [Math.floor(tag / 8), tag % 8];
    const length = wire === 0 ? 0 : wire === 1 ? 8 : wire === 5 ? 4 : varint();
    found.push([number, wire, wire === 0 ? varint() : bytes.subarray(at, at + length)]);
    at += length;
  }
  return found;
}

/** [step, name, value] of all scalars in an event file. */
function scalarsOf(path: string): [number, string, number][] {
  const bytes = readFileSync(path);
  const found: [number, string, number][] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const event = fieldsOf(bytes.subarray(at + 12, at + 12 + length));
    at += length + 16;
    const step = event.find(([number]) => number === 2)?.[2] as number;
    for (const [number, , summary] of event) {
      if (number !== 5) continue;
      for (const [, , value] of fieldsOf(summary as Buffer)) {
        const [name, number] = fieldsOf(value as Buffer).map(([, , bytes]) => bytes as Buffer);
        found.push([step, String(name), number.readFloatLE()]);
      }
    }
  }
  return found;
}

it('writes metrics as CSV and for TensorBoard, and keeps the best weights', async () => {
  const out = join(temporary(), 'run');
  const asked = ['--csv', '--tensorboard', '--save-best', '--eval-every', '2'];
  const done = await run('train', ...TINY, ...asked, '--out', out);
  expect(done.code, done.stderr).toBe(0);
  const { metrics } = readMetrics(join(out, 'metrics.jsonl'));
  const [head, ...lines] = readFileSync(join(out, 'metrics.csv'), 'utf8').trimEnd().split('\n');
  expect(head.split(',').slice(0, 3)).toEqual(['type', 'step', 'loss']);
  expect(lines.map((line) => line.split(',').slice(0, 3).join())).toEqual(
    metrics.map(({ type, step, loss }) => [type, step, loss].join()),
  );
  const [events] = readdirSync(join(out, 'tensorboard'));
  const losses = scalarsOf(join(out, 'tensorboard', events)).filter(([, name]) => name.endsWith('/loss'));
  expect(losses).toEqual(metrics.map(({ type, step, loss }) => [step, `${type}/loss`, Math.fround(loss)]));
  // The last step's weights are looked at for this as those before them were, and here they are the best.
  const between = metrics.filter(({ type, step }) => type === 'eval' && step < 6).map(({ loss }) => loss);
  expect(readdirSync(join(out, 'best'))).toEqual(['step-00000006']);
  const kept = join(out, 'best', 'step-00000006');
  expect(existsSync(join(kept, 'optimizer.safetensors'))).toBe(false);
  const backend = await createBackend('reference');
  const { state } = await loadCheckpoint(backend, kept, { optimizer: false });
  expect((state as { validationLoss: number }).validationLoss).toBeLessThan(Math.min(...between));
  await backend.dispose();
});

it('writes samples while it trains, the same ones when it goes on, and trains the same', async () => {
  const root = temporary();
  const [plain, out] = [join(root, 'plain'), join(root, 'run')];
  const losses = (folder: string) =>
    readMetrics(join(folder, 'metrics.jsonl')).metrics.map(({ step, loss }) => [step, loss]);
  const samples = () =>
    readFileSync(join(out, 'samples.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number; text: string });
  const options = [...TINY, '--prompt', 'It was', '--checkpoint-every', '3'];
  expect((await run('train', ...options, '--out', plain)).code).toBe(0);
  const done = await run('train', ...options, '--sample-every', '2', '--json', '--out', out);
  expect(done.code, done.stderr).toBe(0);
  const told = done.stdout.split('\n').filter((line) => line.startsWith('{"type":"sample"'));
  expect(told.map((line) => JSON.parse(line))).toEqual(samples().map((sample) => ({ type: 'sample', ...sample })));
  expect(samples().map(({ step }) => step)).toEqual([2, 4]);
  for (const { text } of samples()) expect(text).toMatch(/^It was./s);
  expect(losses(out)).toEqual(losses(plain));
  expect(existsSync(join(plain, 'samples.jsonl'))).toBe(false);
  // As a kill after step 4 leaves it: a line beyond the last checkpoint, and one that is cut.
  const before = samples();
  rmSync(join(out, 'checkpoints', 'step-00000006'), { recursive: true });
  appendFileSync(join(out, 'samples.jsonl'), '{"step":5,"te');
  // Somebody's file of that name, in a run that has none, is not touched.
  writeFileSync(join(plain, 'samples.jsonl'), 'notes of mine\n{"task":"piqa"}\nno end');
  rmSync(join(plain, 'checkpoints', 'step-00000006'), { recursive: true });
  expect((await run('train', '--resume', '--out', plain)).code).toBe(0);
  expect(readFileSync(join(plain, 'samples.jsonl'), 'utf8')).toBe('notes of mine\n{"task":"piqa"}\nno end');
  const again = await run('train', '--resume', '--out', out);
  expect(again.code, again.stderr).toBe(0);
  expect(again.stdout).toContain(`step 4  sample: ${before[1].text}`);
  expect(samples()).toEqual(before);
}, 120_000);

it('forgets samples after the checkpoint alone: what is no sample stays', () => {
  const path = join(temporary(), 'samples.jsonl');
  const lines = ['{"step":2,"text":"It"}', 'notes of mine', '{"task":"piqa","step":9}'];
  const kept = `${lines.join('\n')}\n`;
  writeFileSync(path, `${kept}{"step":4,"text":"It"}\n{"step":5,"te`);
  truncateSamples(path, 3);
  expect(readFileSync(path, 'utf8')).toBe(kept);
  writeFileSync(path, `${kept}no end`);
  truncateSamples(path, 3);
  expect(readFileSync(path, 'utf8')).toBe(`${kept}no end\n`);
});

it('stops after evaluations without a lower loss, and says so', async () => {
  const out = join(temporary(), 'run');
  const stuck = ['--lr', '1e-30', '--eval-every', '1', '--stop-after', '2', '--csv'];
  const done = await run('train', ...TINY, ...stuck, '--out', out);
  expect(done.code, done.stderr).toBe(0);
  expect(done.stdout + done.stderr).toContain('No lower validation loss in 2 evaluations');
  expect(done.stdout + done.stderr).toContain('3 of 6 steps');
  const evaluated = () =>
    readMetrics(join(out, 'metrics.jsonl')).metrics.flatMap((metric) =>
      metric.type === 'eval' ? [metric.last ? `last ${metric.step}` : metric.step] : [],
    );
  const trained = () =>
    readMetrics(join(out, 'metrics.jsonl')).metrics.flatMap(({ type, step }) => (type === 'train' ? [step] : []));
  expect([trained(), evaluated()]).toEqual([
    [1, 2, 3],
    [1, 2, 3, 'last 3'],
  ]);
  const resume = async (...args: string[]) => {
    const { code, stdout, stderr } = await run('train', '--resume', '--out', out, ...args);
    expect(code, stderr).toBe(0);
    return stdout + stderr;
  };
  // Once ended it stays so, as often as it is resumed, until more is asked for.
  const again = await resume();
  expect(again).toContain('--stop-after 2 ended this run at step 3 of 6: no lower validation loss in 2 evaluations');
  expect(again).toContain('--stop-after 3 or more, or --steps 6 or more');
  expect(again).toMatch(/work +the last 3 of 6 steps/);
  expect([trained(), evaluated()]).toEqual([
    [1, 2, 3],
    [1, 2, 3, 'last 3'],
  ]);
  expect(await resume('--stop-after', '3')).toContain('training ends at step 4');
  expect(evaluated()).toEqual([1, 2, 3, 'last 3', 4, 'last 4']);
  await resume('--steps', '6');
  expect(trained()).toEqual([1, 2, 3, 4, 5, 6]);
  expect(await resume()).toMatch(/work +none left: all 6 steps are done/);
  expect(evaluated()).toEqual([1, 2, 3, 'last 3', 4, 'last 4', 5, 'last 6']);
}, 120_000);

it('--save-best goes on from the loss that it kept, and refuses a folder best of somebody else', async () => {
  const out = join(temporary(), 'run');
  const asked = ['--save-best', '--eval-every', '2'];
  expect((await run('train', ...TINY, ...asked, '--out', out)).code).toBe(0);
  const backend = await createBackend('reference');
  const best = join(out, 'best');
  const kept = await loadCheckpoint(backend, join(best, 'step-00000006'), { optimizer: false });
  const save = (state: Json) =>
    saveCheckpoint(best, { model: lazyTransformer(kept.config), params: kept.params, step: 6, state, keep: 1 });
  // Lower than any loss that is to come, as the last step's may be, which metrics.jsonl has not on these windows.
  await save({ validationLoss: -1 });
  const more = ['--resume', '--save-best', '--out', out];
  expect((await run('train', ...more, '--steps', '8')).code).toBe(0);
  const names = readdirSync(best);
  expect(names).toHaveLength(1);
  expect((await checkpointState(join(best, names[0]))).state).toEqual({ validationLoss: -1 });
  await save('of another program');
  const refused = await run('train', ...more, '--steps', '10');
  expect(refused.stderr).toContain('does not say its validation loss');
  await backend.dispose();
}, 120_000);

it('event files carry the checksums that TensorBoard checks', () => {
  const folder = temporary();
  eventFile(folder, 0)(7, { loss: 0.5 });
  const [name] = readdirSync(folder);
  const bytes = readFileSync(join(folder, name));
  // The length of the first record is 9 + 2 + 13 bytes, and this the masked CRC-32C of that number.
  expect(bytes.readBigUInt64LE(0)).toBe(24n);
  expect(bytes.readUInt32LE(8).toString(16)).toBe('224b7fa3');
});
