import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createBackend } from '@lazy-attention/core';
import type { TokenSplit } from '@lazy-attention/data';
import { describe, expect, it } from 'vitest';
import { collectReport } from '../src/compare/collect.ts';
import { loadRunData, loadTrained, openRun, runFolder } from '../src/index.ts';
import { quantisedActivations, roundToNearest } from '../src/study/quantise.ts';
import { spreadRows } from '../src/study/table.ts';
import { withTrained } from '../src/study/trained.ts';
import { evaluationOf, measureAttention } from '../src/training/evaluate.ts';
import { run, start, temporary } from './helpers.ts';

const SMALL = ['--context', '16', '--batch', '2', '--window', '8', '--backend', 'reference', '--warmup', '0'];
const SHORT = [...SMALL, '--steps', '2', '--eval-windows', '2', '--final-eval-windows', '4', '--sample-tokens', '3'];
const table = (out: string) => JSON.parse(readFileSync(join(out, 'table.json'), 'utf8'));

describe('lazy-attention study', () => {
  it('trains a run for each value of tau, and goes on without training again', async () => {
    const out = join(temporary(), 'tau');
    const { code, stderr } = await run('study', 'tau', ...SHORT, '--out', out);
    expect([code, stderr]).toEqual([0, '']);
    const first = table(out);
    expect(first.keys).toEqual(['attention', 'tau']);
    expect(first.rows.map(({ key }: { key: unknown[] }) => key[1])).toEqual([0, -0.5, -1, -1.5, -2]);
    const record = JSON.parse(readFileSync(join(out, 'lazy-tau-1.5-seed0', 'run.json'), 'utf8'));
    expect(record.start.tau).toBe(-1.5);
    const again = await run('study', 'tau', '--resume', '--out', out);
    expect(again.stdout).not.toContain('[1 of');
    expect(table(out).rows).toEqual(first.rows);
    const other = await run('study', 'length', '--resume', '--out', out);
    expect(other.stderr).toContain("is of the study 'tau'; expected 'length'");
  }, 300_000);

  it('looks at each position of the marker by itself', async () => {
    const out = join(temporary(), 'marker');
    const { code } = await run('study', 'moving-marker', ...SHORT, '--attention', 'softmax', '--out', out);
    expect(code).toBe(0);
    expect(table(out).rows.map(({ key }: { key: unknown[] }) => key)).toEqual(
      [1, 2, 5, 9].map((at) => ['Softmax', at]),
    );
  }, 300_000);

  it.each([
    [['train', '--attention', 'softmax', '--tau-rate', '2'], '--tau-rate needs a tau, which softmax attention has not'],
    [['train', '--attention', 'alibi', '--bias-rate', '2'], '--bias-rate needs a bias, which alibi attention has not'],
    [['train', '--attention', 'softmax', '--bias-init', '0.1'], '--bias-init needs a bias'],
    [['compare', '--attention', 'softmax,alibi', '--bias-rate', '2'], 'softmax and alibi attention has not'],
    [['train', '--warmup', '9', '--steps', '8'], '--warmup is 9'],
  ])('refuses %j, before any data is read', async (args, message) => {
    const out = join(temporary(), 'out');
    const [command, ...rest] = args as [string, ...string[]];
    const refused = await run(command, '/nowhere/at/all.txt', ...SHORT, ...rest, '--out', out);
    expect(refused.stderr).toContain(message);
    expect([refused.code, existsSync(out)]).toEqual([2, false]);
  });

  it('takes an option of tau where one of its kinds has a tau', async () => {
    const out = join(temporary(), 'out');
    const { code, stderr } = await run(
      'compare',
      ...SHORT,
      '--attention',
      'softmax,lazy',
      '--tau-rate',
      '2',
      '--out',
      out,
    );
    expect(code, stderr).toBe(0);
  });

  it('length tries the context of training, twice that and four times that', async () => {
    const out = join(temporary(), 'length');
    const how = ['--preset', 'pico', '--attention', 'lazy', '--documents', 'joined', '--backend', 'cpu'];
    const { code, stderr } = await run('study', 'length', ...SHORT, ...how, '--out', out);
    expect([code, stderr]).toEqual([0, '']);
    const { rows } = table(out);
    expect(rows.map(({ key }: { key: unknown[] }) => key[1])).toEqual([16, 32, 64]);
    const beyond = rows.map(({ figures }: { figures: object }) => 'lossBeyond' in figures);
    expect(beyond).toEqual([false, true, true]);
  });

  it('figures of a run are measured where a study asks for them', async () => {
    const out = join(temporary(), 'emergence');
    expect((await run('study', 'emergence', ...SHORT, '--attention', 'lazy', '--out', out)).code).toBe(0);
    const folder = runFolder(join(out, 'lazy-seed0'));
    const { record } = openRun(folder.path);
    const [backend, dataset] = [await createBackend('reference'), await loadRunData(record)];
    const aborted = AbortSignal.abort();
    const run0 = { attention: 'lazy', seed: 0, folder, record } as const;
    const steps = await withTrained(backend, run0, dataset, aborted, async ({ metrics }) => metrics.length);
    expect(steps).toBe(2);
    await expect(withTrained(backend, run0, dataset, aborted, ({ figures }) => figures())).rejects.toBe(aborted.reason);
    await backend.dispose();
  });

  it('emergence has a row for every evaluation that --eval-every asks for', async () => {
    const out = join(temporary(), 'emergence');
    const steps = ['--steps', '5', '--eval-every', '3', '--attention', 'lazy'];
    const { code, stderr } = await run('study', 'emergence', ...SHORT, ...steps, '--out', out);
    expect([code, stderr]).toEqual([0, '']);
    expect(table(out).rows.map(({ key }: { key: unknown[] }) => key)).toEqual([
      ['Lazy', 3],
      ['Lazy', 5],
    ]);
  });

  it('measures a run as it was trained: over the borders of documents, and in pieces', async () => {
    const [root, texts] = [temporary(), temporary()];
    for (let n = 0; n < 12; n++) writeFileSync(join(texts, `${n}.txt`), `${n} is one of a dozen words. `.repeat(3));
    const how = ['--preset', 'pico', '--documents', 'joined', '--micro-batch', '1', '--loss-rows', '5'];
    const args = [texts, ...SHORT, ...how, '--validation', '0.5', '--attention', 'lazy', '--out', root];
    const { code, stderr } = await run('study', 'quantisation', ...args);
    expect(code, stderr).toBe(0);
    const folder = join(root, 'lazy-seed0');
    const summary = JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8'));
    expect(table(root).rows[0].figures.loss.mean).toBe(summary.loss);
    const evaluated = await run('eval', folder, '--windows', '4', '--backend', 'reference', '--json');
    const { loss, firstTokenWeight } = JSON.parse(evaluated.stdout);
    expect({ loss, firstTokenWeight }).toEqual({ loss: summary.loss, firstTokenWeight: summary.firstTokenWeight });
    const report = { title: '', command: '', backend: 'reference', measure: true };
    const { runs } = await collectReport([folder], report);
    expect(runs[0].attention?.overall).toEqual(summary.attention.overall);

    const backend = await createBackend('reference');
    const { record } = openRun(folder);
    expect(evaluationOf(record)).toEqual({ batch: 1, joined: true, lossRows: 5 });
    const { validation } = await loadRunData(record);
    const { model, params } = await loadTrained(backend, runFolder(folder), record);
    const split = validation as TokenSplit;
    const isolated = await measureAttention(backend, model, params, split);
    expect(isolated?.overall.firstTokenWeight).not.toBe(summary.firstTokenWeight);
    await backend.dispose();
  });

  it('Ctrl-C is heard while it measures', async () => {
    const out = join(temporary(), 'quantised');
    expect((await run('study', 'quantisation', ...SHORT, '--attention', 'lazy', '--out', out)).code).toBe(0);
    const long = ['--resume', '--final-eval-windows', '100000', '--out', out];
    const { child, done } = start(['study', 'quantisation', ...long]);
    child.stdout?.on('data', (chunk) => {
      if (String(chunk).includes('Study quantisation')) setTimeout(() => child.kill('SIGINT'), 300);
    });
    const { code, stdout } = await done;
    expect([code, stdout]).toEqual([130, expect.stringContaining('study quantisation --resume --out')]);
  });

  it.each([
    [['tau', '--attention', 'softmax,lazy'], 'softmax attention has no tau'],
    [['moving-marker', 'bigram-backcopy'], 'DATA is bigram-backcopy; leave it out'],
  ])('refuses %j before anything is trained', async (args, message) => {
    const out = join(temporary(), 'out');
    const refused = await run('study', ...args, ...SHORT, '--out', out);
    expect([refused.code, existsSync(out)]).toEqual([2, false]);
    expect(refused.stderr).toContain(message);
  });

  it('refuses a name that is no study, and --tau without a tau', async () => {
    expect((await run('study', 'sleep')).stderr).toContain('moving-marker');
    const out = join(temporary(), 'run');
    const refused = await run(
      'train',
      'bigram-backcopy',
      ...SMALL,
      '--attention',
      'softmax',
      '--tau',
      '0',
      '--out',
      out,
    );
    expect(refused.stderr).toContain('--tau needs a tau');
    expect(existsSync(out)).toBe(false);
  }, 300_000);
});

describe('round to nearest', () => {
  it('has 2^bits - 1 levels, with a step for each row', () => {
    const rounded = roundToNearest(Float32Array.of(7, 3.4, -3.6, 0, 0, 0, 0.7, -0.34), 4, 4);
    expect(Array.from(rounded.subarray(0, 4))).toEqual([7, 3, -4, 0]);
    expect(rounded[6]).toBeCloseTo(0.7);
    expect(rounded[7]).toBeCloseTo(-0.3);
    expect(Array.from(roundToNearest(new Float32Array(3), 3, 8))).toEqual([0, 0, 0]);
  });

  it('rounds what a weight multiplies with one step for the tensor', async () => {
    const backend = await createBackend('reference');
    const x = backend.tensor(Float32Array.of(7, 3.4, -3.6, 0.4), [2, 2]);
    const identity = backend.tensor(Float32Array.of(1, 0, 0, 1), [2, 2]);
    const y = quantisedActivations(backend, 4).matmul(x, identity, { transposeB: true });
    expect(Array.from(await y.data())).toEqual([7, 3, -4, 0]);
    await backend.dispose();
  });
});

describe('rows of a table', () => {
  it('are means over seeds, with the sample standard deviation', () => {
    const measured = [1, 3].map((loss) => ({ key: ['Lazy'], figures: { loss, sparsity: null } }));
    expect(spreadRows(measured)).toEqual([
      { key: ['Lazy'], figures: { loss: { mean: 2, deviation: Math.SQRT2, seeds: 2 } } },
    ]);
  });
});
