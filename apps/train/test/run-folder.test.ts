import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { lazyTransformer, preset } from '@lazy-attention/nn';
import { describe, expect, it } from 'vitest';
import { createRun, openRun, RunError, type RunRecord, readMetrics } from '../src/index.ts';
import { flagOf, recordedValue } from '../src/options/rows.ts';
import { TRAINING_OPTIONS } from '../src/options/table.ts';
import { writeWhole } from '../src/run/files.ts';
import { lockFolder } from '../src/run/lock.ts';
import { appendMetric, type Metric, truncateMetrics } from '../src/run/metrics.ts';
import { refuseChanges } from '../src/training/plan.ts';
import { temporary } from './helpers.ts';

const record: RunRecord = {
  version: 1,
  createdAt: '2026-01-02T03:04:05.000Z',
  command: 'lazy-attention train',
  preset: 'pico',
  model: lazyTransformer(preset('pico')).config,
  data: {
    source: 'moby-dick',
    options: {},
    tokenizer: { kind: 'bytes', documentSeparator: false },
    fingerprint: 'f',
    validation: 0,
  },
  training: {
    steps: 3,
    batch: 1,
    learningRate: 1,
    warmupSteps: 1,
    floor: 0.1,
    weightDecay: 0.1,
    maxNorm: null,
    seed: 0,
  },
  rhythm: { evalEvery: 1, evalWindows: 1, finalEvalWindows: 1, checkpointEvery: 1, keep: 1 },
  sample: { prompt: 'p', tokens: 1 },
  environment: { backend: 'reference', device: 'd', node: '20', platform: 'linux x64' },
};
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

/** Puts a value at 'training.floor' of a copy of the record; undefined removes it. */
function changed(path: string, value: unknown): object {
  const copy = structuredClone(record) as unknown as Record<string, unknown>;
  const names = path.split('.');
  const last = names.pop() as string;
  let at = copy;
  for (const name of names) at = at[name] as Record<string, unknown>;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return copy;
}

function messageOf(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (error instanceof RunError) return error.message;
    throw error;
  }
  return 'none';
}

describe('a record with a wrong value', () => {
  const open = (value: object) => {
    const root = temporary();
    writeFileSync(join(root, 'run.json'), JSON.stringify(value));
    return openRun(root);
  };

  it.each(
    ['training.floor', 'training.weightDecay', 'training.steps', 'rhythm.keep', 'sample.tokens'].flatMap((path) =>
      [null, '', [], true, -1, '1', {}, undefined].map((value) => [path, value] as const),
    ),
  )('%s %j is refused by file, field and value', (path, value) => {
    const message = messageOf(() => open(changed(path, value)));
    expect(message).toContain('run.json is damaged');
    expect(message).toContain(`${path} is ${value === undefined ? 'missing' : JSON.stringify(value)}; expected `);
  });

  it.each([
    ['rhythm.keep', 0, /at least 1/],
    ['sample.tokens', 0, /at least 1/],
    ['training.maxNorm', 0, /null, or a number above 0/],
    ['training.warmupSteps', 4, /no more than training\.steps/],
    ['model.numLayers', 1_000_000, /at most 4096/],
    ['model.hiddenSize', 1e12, /at most 1048576/],
    ['model.attention', 'hasty', /its model: .*hasty/],
    ['model.extra', 1, /its model: .*extra/],
    ['command', { source: '<img src=x onerror=alert(1)>' }, /command is .*expected a text/],
    ['preset', '\u001b[2J', /expected a name/],
    ['data.tokenizer', { kind: 'else' }, /data\.tokenizer\.kind/],
    ['data.tokenizer', null, /data\.tokenizer is null/],
    ['data.options.format', 'exe', /one of text, jsonl/],
    ['environment', [], /environment\.backend is missing/],
    ['version', 'x', /version/],
  ])('%s %j is refused', (path, value, says) => {
    expect(messageOf(() => open(changed(path, value)))).toMatch(says);
  });

  it.each(Object.entries(TRAINING_OPTIONS).filter(([, { recorded }]) => recorded?.includes('.')))(
    '%s is kept in run.json and compared on --resume',
    (key, option) => {
      const recorded = recordedValue(option, record);
      const path = option.recorded as string;
      // Sections of what was not said are left out; all else is in every record.
      if (!/options|^start/.test(path)) expect(recorded).not.toBeUndefined();
      const asked = option.value.names?.find((name) => name !== recorded) ?? 0.123;
      const compare = () => refuseChanges('train', undefined, { [key]: asked }, record);
      if (option.resume === 'free') expect(compare).not.toThrow();
      else if (option.resume === 'refused') expect(compare).toThrow(`${flagOf(option)} cannot be given with --resume`);
      else expect(compare).toThrow(`${flagOf(option)} is ${asked}, but the run was started with`);
    },
  );
});

describe('two at once', () => {
  it('of many that create a run one succeeds', async () => {
    const path = join(temporary(), 'run');
    const source = fileURLToPath(new URL('../dist/index.js', import.meta.url));
    const script = `
      const { createRun } = await import(${JSON.stringify(source)});
      try { createRun(${JSON.stringify(path)}, ${JSON.stringify(record)}); console.log('made'); }
      catch (error) { console.log(error.code); }`;
    const said = await Promise.all(
      Array.from({ length: 6 }, () => promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])),
    );
    const codes = said.map(({ stdout }) => stdout.trim()).sort();
    expect(codes).toEqual(['RUN_EXISTS', 'RUN_EXISTS', 'RUN_EXISTS', 'RUN_EXISTS', 'RUN_EXISTS', 'made']);
    expect(readdirSync(path).sort()).toEqual(['checkpoints', 'run.json']);
  });

  it('a lock names who has it; one of a process that is gone is taken over', () => {
    const root = temporary();
    const file = join(root, 'run.lock');
    const lock = (holder: object) => writeFileSync(file, JSON.stringify(holder));
    const me = { host: hostname(), began: null, since: '2026-01-02T03:04:05.000Z' };

    lock({ ...me, pid: 1 });
    expect(messageOf(() => lockFolder(root))).toMatch(/in use by process 1 on .* since 2026-01-02/);
    lock({ ...me, pid: 1, host: 'elsewhere' });
    expect(messageOf(() => lockFolder(root))).toMatch(/process 1 on elsewhere/);
    writeFileSync(file, 'junk');
    expect(messageOf(() => lockFolder(root))).toMatch(/if it is gone remove .*run\.lock/);

    const { pid } = spawnSync(process.execPath, ['-e', '']);
    lock({ ...me, pid });
    const first = lockFolder(root);
    const second = lockFolder(root); // this process may go on writing
    first.release();
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() });
    second.release();
    expect(existsSync(file)).toBe(false);

    // The number of a process that is gone may have been given to another.
    lock({ ...me, pid: process.ppid, began: '1' });
    if (process.platform === 'linux') lockFolder(root).release();
  });
});

describe('files', () => {
  it('are not written through links, and a pipe is not read', () => {
    const root = temporary();
    const victim = join(root, 'victim.txt');
    writeFileSync(victim, 'precious');
    for (const name of ['sample.txt', 'metrics.jsonl']) symlinkSync(victim, join(root, name));
    writeWhole(join(root, 'sample.txt'), 'text');
    expect(code(() => appendMetric(join(root, 'metrics.jsonl'), metric(1)))).toBe('RUN_WRITE');
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    expect(readFileSync(join(root, 'sample.txt'), 'utf8')).toBe('text');

    execFileSync('mkfifo', [join(root, 'pipe')]);
    expect(code(() => appendMetric(join(root, 'pipe'), metric(1)))).toBe('RUN_WRITE');
    expect(code(() => readMetrics(join(root, 'pipe')))).toBe('RUN_METRICS');
    execFileSync('mkfifo', [join(root, 'run.json')]);
    expect(code(() => openRun(root))).toBe('RUN_RECORD');
  });

  it('a disk that is full takes no part of a line', () => {
    const path = join(temporary(), 'metrics.jsonl');
    const line = `${JSON.stringify(metric(1))}\n`;
    const script = `
      const { appendLine } = await import(${JSON.stringify(new URL('../dist/run/files.js', import.meta.url).href)});
      try { for (;;) appendLine(${JSON.stringify(path)}, ${JSON.stringify(line.trim())}); }
      catch (error) { console.log(error.message); }`;
    // A limit of file size fails as a full disk does: part of the last line is written before it.
    const { stdout } = spawnSync(
      'bash',
      ['-c', `ulimit -f 1; exec ${process.execPath} --input-type=module -e "$SCRIPT"`],
      { env: { ...process.env, SCRIPT: script }, encoding: 'utf8' },
    );
    expect(stdout).toMatch(/cannot write .*metrics\.jsonl.*what was there before is unchanged/);
    const text = readFileSync(path, 'utf8');
    expect(text.length).toBeGreaterThan(0);
    expect(text.replaceAll(line, '')).toBe('');
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
