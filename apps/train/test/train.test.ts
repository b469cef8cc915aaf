import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { lines, RHYTHM, run, start, TINY, temporary } from './helpers.ts';

const losses = (folder: string) =>
  readMetrics(join(folder, 'metrics.jsonl')).metrics.flatMap((metric) =>
    metric.type === 'train' ? [[metric.step, metric.loss]] : [],
  );

describe('lazy-attention train', () => {
  it('trains, measures, samples and leaves a whole run folder', async () => {
    const out = join(temporary(), 'run');
    const { code, stdout, stderr } = await run('train', ...TINY, '--out', out);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    for (const what of ['validation loss', 'attention sparsity', 'first-token weight', 'sink rate', 'Sample']) {
      expect(stdout).toContain(what);
    }
    expect(readdirSync(out).sort()).toEqual(['checkpoints', 'metrics.jsonl', 'run.json', 'sample.txt', 'summary.json']);
    expect(losses(out).map(([step]) => step)).toEqual([1, 2, 3, 4, 5, 6]);

    const generated = await run(
      'generate',
      out,
      '--prompt',
      'Call me',
      '--tokens',
      '5',
      '--backend',
      'reference',
      '--json',
    );
    expect(JSON.parse(generated.stdout).prompt).toBe('Call me');
    const evaluated = await run('eval', out, '--windows', '4', '--backend', 'reference', '--json');
    const headline = JSON.parse(evaluated.stdout);
    expect(headline.loss).toBeCloseTo(JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8')).loss, 6);
    expect(headline.bitsPerByte).toBeCloseTo(headline.loss / Math.LN2, 6);
  });

  it.each(['lazy', 'softmax', 'alibi', 'bias-only', 'elastic-only'])(
    'trains %s; losses are in metrics.jsonl',
    async (kind) => {
      const out = join(temporary(), kind);
      const { code } = await run('train', ...TINY, '--steps', '12', '--lr', '0.01', '--attention', kind, '--out', out);
      expect(code).toBe(0);
      const curve = losses(out);
      expect(curve).toHaveLength(12);
      expect(curve[11][1]).toBeLessThan(curve[0][1]);
      const { sparsity } = JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'));
      if (kind === 'lazy' || kind === 'elastic-only') expect(sparsity).toBeGreaterThan(0.05);
      else expect(sparsity).toBeLessThan(0.01);
    },
  );

  it('prints JSON lines for programs', async () => {
    const { stdout } = await run('train', ...TINY, '--out', join(temporary(), 'run'), '--json');
    const events = lines(stdout).map((line) => JSON.parse(line));
    expect(events[0]).toMatchObject({ type: 'start', step: 0, steps: 6, tokensPerStep: 32 });
    expect(events.filter((event) => event.type === 'train')).toHaveLength(6);
    expect(events.at(-1)).toMatchObject({ type: 'result', step: 6 });
  });

  it('trains on a folder of documents, packed', async () => {
    const root = temporary();
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']) {
      writeFileSync(join(root, `${name}.txt`), `${name} is a letter, and ${name.repeat(3)} a word. `.repeat(3));
    }
    const out = join(temporary(), 'run');
    const { code, stdout } = await run('train', root, ...TINY, '--out', out, '--validation', '0.2');
    expect(stdout).toContain('validation loss');
    expect(code).toBe(0);
  });

  it('Ctrl-C saves and exits with 130, and the resumed run has the losses of one that never stopped', async () => {
    const root = temporary();
    const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
    await run('train', ...TINY, '--steps', '30', '--out', whole);
    const { child, done } = start(['train', ...TINY, '--steps', '30', '--out', stopped, '--json']);
    child.stdout?.on('data', (chunk) => {
      if (String(chunk).includes('"step":5,')) child.kill('SIGINT');
    });
    const first = await done;
    expect(first.code).toBe(130);
    expect(first.stderr).toContain('--resume');
    expect(losses(stopped).length).toBeLessThan(30);
    const second = await run('train', '--resume', '--out', stopped, ...RHYTHM);
    expect(second.code).toBe(0);
    expect(losses(stopped)).toEqual(losses(whole));
    expect(readFileSync(join(stopped, 'sample.txt'), 'utf8')).toBe(readFileSync(join(whole, 'sample.txt'), 'utf8'));
  });

  it('extends a finished run: the steps after keep the last learning rate, and the data goes on', async () => {
    const out = join(temporary(), 'run');
    await run('train', ...TINY, '--out', out);
    const before = losses(out);
    const { code, stdout } = await run('train', '--resume', '--steps', '9', '--out', out);
    expect(code).toBe(0);
    expect(stdout).toContain('Extended to 9 steps: those after step 6 keep the schedule');
    expect(losses(out)).toHaveLength(9);
    expect(losses(out).slice(0, 6)).toEqual(before);
    const rates = readMetrics(join(out, 'metrics.jsonl')).metrics.flatMap((m) =>
      m.type === 'train' ? m.learningRate : [],
    );
    expect(rates.slice(6)).toEqual([rates[5], rates[5], rates[5]]);
    // Extended at once or in two goes, it is one run.
    const twice = join(temporary(), 'run');
    await run('train', ...TINY, '--out', twice);
    for (const steps of ['7', '9']) await run('train', '--resume', '--steps', steps, '--out', twice);
    expect(losses(twice)).toEqual(losses(out));
    const { training } = JSON.parse(readFileSync(join(twice, 'run.json'), 'utf8'));
    expect([training.steps, training.scheduleSteps]).toEqual([9, 6]);
  });

  it('Ctrl-C is heard between steps that never wait', async () => {
    const out = join(temporary(), 'run');
    const rare = ['--steps', '4000', '--checkpoint-every', '4000', '--eval-every', '0'];
    const { child, done } = start(['train', ...TINY, ...rare, '--out', out, '--json']);
    child.stdout?.on('data', (chunk) => {
      if (String(chunk).includes('"step":5,')) child.kill('SIGINT');
    });
    expect((await done).code).toBe(130);
    expect(losses(out).length).toBeLessThan(2000);
  });

  it('resumes on the backend and with the rhythm that it was started with', async () => {
    const out = join(temporary(), 'run');
    await run('train', ...TINY, '--eval-every', '2', '--out', out);
    const { stdout } = await run('train', '--resume', '--out', out);
    expect(stdout).toContain('Backend reference');
    expect(stdout).toContain('validation loss');
  });

  it('a run that was killed before its first checkpoint begins anew', async () => {
    const out = join(temporary(), 'run');
    await run('train', ...TINY, '--out', out);
    rmSync(join(out, 'checkpoints'), { recursive: true });
    rmSync(join(out, 'metrics.jsonl'));
    expect((await run('train', '--resume', '--out', out)).code).toBe(0);
    rmSync(join(out, 'checkpoints'), { recursive: true });
    const lost = await run('train', '--resume', '--out', out);
    expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining('RUN_NO_CHECKPOINT')]);
  });

  it('names the step when weights stop being numbers before an evaluation', async () => {
    const out = join(temporary(), 'run');
    const { code, stderr } = await run(
      'train',
      ...TINY,
      '--steps',
      '40',
      '--lr',
      '1e30',
      '--eval-every',
      '1',
      '--out',
      out,
    );
    expect([code, stderr]).toEqual([1, expect.stringMatching(/TRAINING_DIVERGED.*step \d+.*--lr/)]);
  });

  it('says so when nothing is held out', async () => {
    const { stdout } = await run('train', ...TINY, '--validation', '0', '--out', join(temporary(), 'run'));
    expect(stdout).toContain('training loss');
    expect(stdout).not.toContain('validation loss');
  });

  it('stops at a loss that is not a number, says the step, and keeps the last good checkpoint', async () => {
    const out = join(temporary(), 'run');
    const { code, stderr } = await run(
      'train',
      ...TINY,
      '--steps',
      '40',
      '--lr',
      '1e30',
      '--checkpoint-every',
      '1',
      '--out',
      out,
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/TRAINING_DIVERGED.*step \d+/);
    expect(existsSync(join(out, 'checkpoints'))).toBe(true);
    const evaluated = await run('eval', out, '--windows', '2', '--backend', 'reference', '--json');
    expect(evaluated.code).toBe(0);
  });
});

describe('lazy-attention export', () => {
  it('writes an ONNX file that generates what the backend generates', async () => {
    const root = temporary();
    const [out, file] = [join(root, 'run'), join(root, 'model.onnx')];
    await run('train', ...TINY, '--out', out);
    expect((await run('export', '--checkpoint', out, '--out', file)).code).toBe(0);
    const again = await run('export', '--checkpoint', out, '--out', file);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('is there already')]);

    const greedy = ['generate', out, '--prompt', 'Call me', '--tokens', '12', '--temperature', '0', '--json'];
    const onnx = await run(...greedy, '--runtime', 'onnx', '--provider', 'cpu');
    const native = await run(...greedy, '--backend', 'reference');
    expect(onnx.stderr).toBe('');
    expect(JSON.parse(onnx.stdout)).toEqual(JSON.parse(native.stdout));
  });

  it('refuses options that do not go together', async () => {
    const mixed = await run('generate', 'x', '--prompt', 'y', '--runtime', 'onnx', '--backend', 'cpu');
    expect([mixed.code, mixed.stderr]).toEqual([2, expect.stringContaining('--provider')]);
  });
});

describe('a train of which nobody reads the output', () => {
  // A reader that takes three lines and goes, as `| head -n 3`; standard error goes with it.
  it.each([[[]], [['--json']]])('goes on to its end and saves: %j', async (more) => {
    const out = join(temporary(), 'run');
    const { child, done } = start(['train', ...TINY, '--steps', '40', '--out', out, ...more]);
    child.stdout?.once('data', () => {
      child.stdout?.destroy();
      child.stderr?.destroy();
    });
    expect(await done).toMatchObject({ code: 0, signal: null });
    expect(losses(out)).toHaveLength(40);
    expect(existsSync(join(out, 'summary.json'))).toBe(true);
    expect(existsSync(join(out, 'run.lock'))).toBe(false);
  });

  it('a terminal that is hung up saves, as SIGTERM does', async () => {
    const out = join(temporary(), 'run');
    const { child, done } = start(['train', ...TINY, '--steps', '4000', '--eval-every', '0', '--out', out, '--json']);
    child.stdout?.on('data', (chunk) => {
      if (String(chunk).includes('"step":5,')) child.kill('SIGHUP');
    });
    const { code, stderr } = await done;
    expect([code, stderr]).toEqual([129, expect.stringContaining('Saved at step')]);
    expect(existsSync(join(out, 'run.lock'))).toBe(false);
  });
});

describe('a second trainer of a run', () => {
  it('is refused and told who trains it; run.json that was removed meanwhile is there again', async () => {
    const out = join(temporary(), 'run');
    const options = ['--steps', '4000', '--eval-every', '0', '--checkpoint-every', '4000'];
    const { child, done } = start(['train', ...TINY, ...options, '--out', out, '--json']);
    await new Promise<void>((resolve) => {
      child.stdout?.on('data', (chunk) => {
        if (String(chunk).includes('"step":5,')) resolve();
      });
    });
    const second = await run('train', '--resume', '--out', out, ...RHYTHM);
    expect([second.code, second.stderr]).toEqual([1, expect.stringContaining(`in use by process ${child.pid} on `)]);
    rmSync(join(out, 'run.json'));
    child.kill('SIGINT');
    const first = await done;
    expect([first.code, first.stderr]).toEqual([130, expect.stringContaining('was gone and has been written again')]);
    const steps = losses(out).map(([step]) => step);
    expect(steps).toEqual(steps.map((_, n) => n + 1));
    expect(existsSync(join(out, 'run.json'))).toBe(true);
  });
});

it('Ctrl-C while data is read ends at once and leaves no folder', async () => {
  const root = temporary();
  const text = join(root, 'long.txt');
  // Not bytes, which are read in a second: this takes long enough for a word of progress, and is small enough for memory.
  writeFileSync(text, 'It was the best of times, it was the worst of times. '.repeat(1_000_000));
  const tokenizer = fileURLToPath(new URL('../../../packages/data/test/fixtures/byte-level.json', import.meta.url));
  const out = join(root, 'run');
  const { child, done } = start(['train', text, '--tokenizer', tokenizer, ...TINY, '--out', out]);
  child.stdout?.on('data', (chunk) => {
    if (String(chunk).startsWith('Reading:')) child.kill('SIGINT');
  });
  const { code, stdout } = await done;
  expect(code).toBe(130);
  expect(stdout).toMatch(/Reading: \d+ MB of text.*\nStopping\.\nStopped before the first step; nothing was written\./);
  expect(existsSync(out)).toBe(false);
});
