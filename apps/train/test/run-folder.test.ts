import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRun, openRun, RunError, type RunRecord, readMetrics } from '../src/index.ts';
import { appendMetric, type Metric, truncateMetrics } from '../src/run/metrics.ts';
import { temporary } from './helpers.ts';

const record = {
  version: 1,
  model: { context: 1, vocabSize: 1, attention: 'lazy' },
  data: { source: 's', options: {}, tokenizer: {}, fingerprint: 'f', validation: 0 },
  training: { steps: 1, batch: 1, learningRate: 1, warmupSteps: 1, seed: 0 },
  rhythm: { evalEvery: 1, evalWindows: 1, finalEvalWindows: 1, checkpointEvery: 1, keep: 1 },
  sample: { prompt: 'p', tokens: 1 },
  environment: { backend: 'b', device: 'd' },
} as unknown as RunRecord;
const metric = (step: number): Metric => ({
  type: 'train',
  step,
  loss: 1 / step,
  learningRate: 1,
  gradNorm: 1,
  tokensPerSecond: 1,
  seconds: step,
});

function code(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (error instanceof RunError) return error.code;
    throw error;
  }
  return 'none';
}

describe('run folder', () => {
  it('is made once and opened again', () => {
    const path = join(temporary(), 'a', 'b');
    createRun(path, record);
    expect(openRun(path).record).toEqual(record);
    expect(code(() => createRun(path, record))).toBe('RUN_EXISTS');
  });

  it('refuses a file, a folder with other things in it, and nothing', () => {
    const root = temporary();
    writeFileSync(join(root, 'file'), 'x');
    expect(code(() => createRun(root, record))).toBe('RUN_EXISTS');
    expect(code(() => createRun(join(root, 'file'), record))).toBe('RUN_EXISTS');
    expect(code(() => createRun(join(root, 'file', 'below'), record))).toBe('RUN_WRITE');
    expect(code(() => openRun(join(root, 'nothing')))).toBe('RUN_MISSING');
    expect(code(() => openRun(root))).toBe('RUN_MISSING');
    expect(readFileSync(join(root, 'file'), 'utf8')).toBe('x');
  });

  it.each([
    ['cut', '{"version": 1, "mod', 'RUN_RECORD'],
    ['no object', '3', 'RUN_RECORD'],
    ['without parts', '{"version": 1}', 'RUN_RECORD'],
    ['from a newer program', '{"version": 2}', 'RUN_VERSION'],
  ])('refuses a record that is %s', (_, text, expected) => {
    const root = temporary();
    writeFileSync(join(root, 'run.json'), text);
    expect(code(() => openRun(root))).toBe(expected);
  });
});

describe('metrics.jsonl', () => {
  it('leaves out a last line that was cut, and says so', () => {
    const path = join(temporary(), 'metrics.jsonl');
    appendMetric(path, metric(1));
    appendFileSync(path, JSON.stringify(metric(2)).slice(0, 20));
    const read = readMetrics(path);
    expect(read.metrics).toEqual([metric(1)]);
    expect(read.warning).toMatch(/middle of a line/);
  });

  it('refuses a damaged line elsewhere, by its number', () => {
    const path = join(temporary(), 'metrics.jsonl');
    writeFileSync(path, `${JSON.stringify(metric(1))}\n{"type":\n${JSON.stringify(metric(2))}\n`);
    expect(() => readMetrics(path)).toThrow(/line 2 of/);
  });

  it('is cut back to the last checkpoint on resuming', () => {
    const path = join(temporary(), 'metrics.jsonl');
    for (const step of [1, 2, 3, 4]) appendMetric(path, metric(step));
    truncateMetrics(path, 2);
    expect(readMetrics(path).metrics.map(({ step }) => step)).toEqual([1, 2]);
  });

  it('is empty before the first step', () => {
    mkdirSync(join(temporary(), 'x'));
    expect(readMetrics(join(temporary(), 'metrics.jsonl'))).toEqual({ metrics: [], warning: null });
  });
});
