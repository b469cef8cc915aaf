import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { provider } from '@lazy-attention/backend-cpu';
import { createBackend } from '@lazy-attention/core';
import { latestCheckpoint, loadCheckpoint } from '@lazy-attention/nn/node';
import { describe, expect, it } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { annealed } from '../src/training/start.ts';
import { RHYTHM, run, TINY, temporary } from './helpers.ts';

const losses = (folder: string) =>
  readMetrics(join(folder, 'metrics.jsonl')).metrics.filter(({ type }) => type === 'train');
const evaluations = (folder: string) =>
  readMetrics(join(folder, 'metrics.jsonl')).metrics.filter(({ type }) => type === 'eval');

/** A softmax model that has learned a little, with grouped heads as real ones have. */
async function softmaxRun(): Promise<string> {
  const base = join(temporary(), 'softmax');
  const { code, stderr } = await run(
    'train',
    ...TINY,
    '--steps',
    '8',
    '--lr',
    '0.01',
    '--attention',
    'softmax',
    '--out',
    base,
  );
  expect([code, stderr]).toEqual([0, '']);
  return base;
}

const FROM = [...RHYTHM, '--context', '16', '--batch', '2', '--warmup', '0'];

/** What the last checkpoint holds. */
async function parameters(folder: string): Promise<Record<string, number[]>> {
  const backend = await createBackend('reference');
  const last = await latestCheckpoint(join(folder, 'checkpoints'));
  const { params } = await loadCheckpoint(backend, last as string, { optimizer: false });
  const result: Record<string, number[]> = {};
  for (const [name, tensor] of Object.entries(params)) result[name] = Array.from(await tensor.data());
  await backend.dispose();
  return result;
}

describe('train --from', () => {
  it('starts as the same function: the first loss of lazy is that of softmax', async () => {
    const base = await softmaxRun();
    const folder = temporary();
    for (const kind of ['softmax', 'lazy']) {
      const out = join(folder, kind);
      const args = [
        'train',
        '--from',
        base,
        '--attention',
        kind,
        ...FROM,
        '--steps',
        '3',
        '--lr',
        '1e-3',
        '--out',
        out,
      ];
      const { code, stderr } = await run(...args);
      expect([code, stderr]).toEqual([0, '']);
    }
    const [softmax, lazy] = ['softmax', 'lazy'].map((kind) => losses(join(folder, kind)));
    expect(Math.abs(softmax![0]!.loss - lazy![0]!.loss)).toBeLessThan(1e-6);
    const record = JSON.parse(readFileSync(join(folder, 'lazy', 'run.json'), 'utf8'));
    expect(record.start).toEqual({ from: base });
    expect(record.model.attention).toBe('lazy');
    // Better than a model that begins anew, since it goes on from what was learned.
    expect(softmax![0]!.loss).toBeLessThan(Math.log(256) - 0.5);
  });

  it('takes tau to -1 by its schedule, and leaves alone what is not to be trained', async () => {
    const base = await softmaxRun();
    const folder = temporary();
    const args = (out: string) => [
      ...['train', '--from', base, '--attention', 'lazy', '--tau-anneal', '1:5', '--train-only', 'attention'],
      ...[...FROM, '--steps', '8', '--lr', '1e-3', '--checkpoint-every', '3', '--out', out],
    ];
    const whole = join(folder, 'whole');
    expect((await run(...args(whole))).code).toBe(0);
    const before = await parameters(base);
    const after = await parameters(whole);
    const tau = after['model.layers.0.attn.tau']!;
    expect(tau.every((t) => Math.abs(t + 1) < 0.02)).toBe(true);
    expect(after['model.embeddings.weight']).toEqual(before['model.embeddings.weight']);
    expect(after['model.layers.0.attn.q_proj.weight']).not.toEqual(before['model.layers.0.attn.q_proj.weight']);
    const last = evaluations(whole).at(-1) as { sparsity?: number };
    expect(last.sparsity).toBeGreaterThan(0.05);
  });

  it('moves only bias and tau when told so', async () => {
    const base = await softmaxRun();
    const out = join(temporary(), 'run');
    const { code } = await run(
      'train',
      '--from',
      base,
      '--attention',
      'lazy',
      '--train-only',
      'tau,bias',
      ...FROM,
      '--steps',
      '4',
      '--lr',
      '0.01',
      '--out',
      out,
    );
    expect(code).toBe(0);
    const [before, after] = [await parameters(base), await parameters(out)];
    for (const name of Object.keys(before)) expect(after[name]).toEqual(before[name]);
    expect(after['model.layers.0.attn.bias']?.some((x) => x !== 0)).toBe(true);
  });

  it('presses the first token down with a sink penalty', async () => {
    const base = await softmaxRun();
    const folder = temporary();
    const weights: number[] = [];
    for (const penalty of ['0', '50']) {
      const out = join(folder, penalty);
      const args = [
        'train',
        '--from',
        base,
        '--sink-penalty',
        penalty,
        ...FROM,
        '--steps',
        '12',
        '--lr',
        '0.01',
        '--out',
        out,
      ];
      const { code, stderr } = await run(...args);
      expect([code, stderr]).toEqual([0, '']);
      weights.push((evaluations(out).at(-1) as { firstTokenWeight?: number }).firstTokenWeight as number);
    }
    expect(weights[1]).toBeLessThan((weights[0] as number) * 0.9);
  });

  it('learns the predictions of a teacher: one that it equals leaves nothing to learn', async () => {
    const base = await softmaxRun();
    const folder = temporary();
    const first: { loss: number; gradNorm: number }[] = [];
    for (const share of ['0', '1']) {
      const out = join(folder, share);
      const args = ['train', '--from', base, '--distill', base, '--distill-share', share, ...FROM];
      const { code, stderr } = await run(...args, '--steps', '2', '--lr', '1e-3', '--out', out);
      expect([code, stderr]).toEqual([0, '']);
      first.push(losses(out)[0] as (typeof first)[number]);
    }
    // Share 0 is the plain loss; with share 1 the target is what the model itself predicts.
    expect(first[0]!.gradNorm).toBeGreaterThan(0.1);
    expect(first[1]!.gradNorm).toBeLessThan(1e-4);
    const plain = join(folder, 'plain');
    await run('train', '--from', base, ...FROM, '--steps', '1', '--lr', '1e-3', '--out', plain);
    expect(Math.abs(first[0]!.loss - losses(plain)[0]!.loss)).toBeLessThan(1e-6);
  });

  it('learns from a teacher, against sinks, in bf16 as in f32', async (context) => {
    const { available, reason } = await provider.probe();
    if (!available) context.skip(`cpu: ${reason}`);
    const base = await softmaxRun();
    const folder = temporary();
    const found: number[][] = [];
    for (const dtype of ['f32', 'bf16']) {
      const out = join(folder, dtype);
      const args = ['train', '--from', base, '--attention', 'lazy', '--distill', base, '--sink-penalty', '1'];
      const rest = FROM.map((word) => (word === 'reference' ? 'cpu' : word));
      const { code, stderr } = await run(
        ...args,
        '--dtype',
        dtype,
        ...rest,
        '--steps',
        '3',
        '--lr',
        '1e-3',
        '--out',
        out,
      );
      expect([code, stderr]).toEqual([0, '']);
      found.push(losses(out).map(({ loss }) => loss));
    }
    for (const [i, loss] of found[0]!.entries()) expect(found[1]![i]! / loss).toBeCloseTo(1, 2);
  });

  it('gives tau and bias learning rates of their own, and resumes with them and the teacher', async () => {
    const base = await softmaxRun();
    const out = join(temporary(), 'run');
    const args = ['train', '--from', base, '--attention', 'lazy', '--distill', base, '--tau-rate', '10'];
    const { code, stderr } = await run(
      ...args,
      '--bias-rate',
      '0',
      '--floor',
      '1',
      ...FROM,
      '--steps',
      '1',
      '--lr',
      '1e-3',
      '--out',
      out,
    );
    expect([code, stderr]).toEqual([0, '']);
    const after = await parameters(out);
    // Adam's first step is the learning rate, whatever the gradient.
    for (const tau of after['model.layers.0.attn.tau']!) expect(Math.abs(tau)).toBeCloseTo(0.01, 4);
    expect(after['model.layers.0.attn.bias']!.every((x) => x === 0)).toBe(true);
    expect((await run('train', '--resume', '--out', out)).code).toBe(0);
  });

  it.each([
    [['--from', '/nowhere'], '/nowhere'],
    [['--distill', '/nowhere'], '/nowhere'],
    [['--distill-share', '0.5'], '--distill-share goes with --distill'],
    [['--tau-rate', '-1'], '--tau-rate'],
    [['--tau-anneal', '0:5'], '--tau-anneal goes with --from'],
    [['--tau-anneal', '5:5'], '--tau-anneal'],
    [['--train-only', 'tau'], '--train-only'],
    [['bigram-backcopy', '--from', 'x'], '--from has no use'],
  ])('%j is refused before a folder is made', async (wrong, message) => {
    const out = join(temporary(), 'run');
    const { code, stderr } = await run('train', ...wrong, ...FROM, '--steps', '1', '--out', out);
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
  });

  it.each([
    [['--preset', 'pico'], '--preset does not go with --from'],
    [['--context', '64'], 'made for 16 tokens'],
    [['--tau-anneal', '0:5', '--attention', 'softmax'], 'choose --attention lazy'],
    [['--attention', 'gated'], 'lacks'],
  ])('with a model, %j is refused', async (wrong, message) => {
    const base = await softmaxRun();
    const out = join(temporary(), 'run');
    const { code, stderr } = await run('train', '--from', base, ...RHYTHM, '--steps', '1', ...wrong, '--out', out);
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
  });
});

describe('the schedule of tau', () => {
  it('is 0 until it starts, -1 when it ends, and a straight line between', () => {
    expect([0, 2, 4, 6, 9].map((step) => annealed(step, [2, 6]))).toEqual([-0, -0, -0.5, -1, -1]);
  });
});
