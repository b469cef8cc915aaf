import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, TINY } from './helpers.ts';

// A run, and what it is written as: the commands that take a MODEL take all of them.
const root = mkdtempSync(join(tmpdir(), 'lazy-attention-'));
const made = join(root, 'run');
const folder = join(root, 'hf');
const REFERENCE = ['--backend', 'reference'];

beforeAll(async () => {
  expect(await run('train', ...TINY, '--attention', 'lazy', '--out', made)).toMatchObject({ code: 0 });
  expect(await run('export', made, '--format', 'hf', '--out', folder)).toMatchObject({ code: 0, stderr: '' });
}, 120_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

const greedy = async (model: string) => {
  const { code, stdout } = await run(
    'generate',
    model,
    '--prompt',
    'Call',
    '--tokens',
    '8',
    '--temperature',
    '0',
    ...REFERENCE,
  );
  expect(code).toBe(0);
  return stdout;
};

describe('a MODEL', () => {
  it('is a run, a checkpoint or a Hugging Face folder, and writes the same', async () => {
    const [checkpoint] = [join(made, 'checkpoints', 'step-00000006')];
    const texts = [await greedy(made), await greedy(checkpoint), await greedy(folder)];
    expect(new Set(texts).size).toBe(1);
  }, 60_000);

  it('says that a text goes past the context', async () => {
    const long = await run('generate', made, '--prompt', 'x', '--tokens', '300', ...REFERENCE);
    expect(long.code).toBe(0);
    expect(long.stderr).toMatch(/may become 301 tokens long; past the model's context of \d+, attention sees the last/);
    expect((await run('generate', made, '--prompt', 'x', '--tokens', '3', ...REFERENCE)).stderr).toBe('');
  }, 60_000);

  it('is evaluated on a text that is named, or on the embedded book', async () => {
    const { code, stdout } = await run('eval', folder, '--windows', '2', '--context', '16', '--json', ...REFERENCE);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      model: folder,
      step: null,
      data: 'moby-dick',
      loss: expect.any(Number),
    });
  }, 60_000);

  it('is evaluated on what its run held out, as a checkpoint too, and says on what', async () => {
    const losses: unknown[] = [];
    for (const path of [made, join(made, 'checkpoints', 'step-00000006'), join(made, 'checkpoints')]) {
      const { code, stdout } = await run('eval', path, '--windows', '2', '--json', ...REFERENCE);
      expect(code).toBe(0);
      const { run: of, step, data, loss } = JSON.parse(stdout);
      expect({ of, step, data }).toEqual({ of: made, step: 6, data: expect.any(String) });
      losses.push(loss);
    }
    expect(new Set(losses).size).toBe(1);
  }, 60_000);

  it('is not exported over what is there, nor to a format that cannot hold it', async () => {
    expect(await run('export', made, '--format', 'fla', '--out', folder)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is there already'),
    });
    expect(await run('export', made, '--format', 'gguf', '--out', join(root, 'gguf'))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/MODEL_WRITE.*lazy/),
    });
    expect(existsSync(join(root, 'gguf'))).toBe(false);
  });

  it('is asked for once', async () => {
    expect(await run('export', '--out', join(root, 'x'))).toMatchObject({ code: 2 });
    expect(await run('export', made, '--format', 'hf', '--opset', '18', '--out', join(root, 'x'))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--opset'),
    });
  });
});

describe('inspect', () => {
  it('tells what the heads do on a prompt, as JSON', async () => {
    const { code, stdout } = await run('inspect', made, '--prompt', 'Call me Ishmael.', '--json', ...REFERENCE);
    expect(code).toBe(0);
    const { tokens, parameters, stored, attention } = JSON.parse(stdout);
    expect(tokens).toBe(16);
    expect(stored).toEqual({ F32: parameters });
    expect(attention.layers[0].heads[0]).toMatchObject({
      strongestPosition: expect.any(Number),
      strongestPositionWeight: expect.any(Number),
      valueNormRatio: expect.any(Number),
    });
    expect(attention.maps.length).toBeGreaterThan(0);
  }, 60_000);

  it('prints tables, and writes the page with the maps', async () => {
    const out = join(root, 'page.html');
    const { code, stdout } = await run(
      'inspect',
      folder,
      '--windows',
      '2',
      '--context',
      '16',
      '--out',
      out,
      ...REFERENCE,
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/largest activation[\s\S]*layer\.head/);
    expect(readFileSync(out, 'utf8')).toContain('What attends in');
  }, 60_000);

  it('refuses what makes no sense', async () => {
    const cases = [
      [['--context', '1000', '--prompt', 'long'], /context/],
      [['--prompt', 'x'], /at least two/],
      [['book.txt', '--prompt', 'x'], /not both/],
    ] as const;
    for (const [args, says] of cases) {
      const { code, stderr } = await run('inspect', made, ...args, ...REFERENCE);
      expect(code).toBe(2);
      expect(stderr).toMatch(says);
    }
  }, 60_000);
});
