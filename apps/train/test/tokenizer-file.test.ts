import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RHYTHM, run, TINY, temporary } from './helpers.ts';

const TOKENIZER = fileURLToPath(new URL('../../../packages/data/test/fixtures/byte-level.json', import.meta.url));
const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
const ON = ['--backend', 'reference'];

describe('a run with a tokenizer.json', { timeout: 180_000 }, () => {
  let root: string;
  let folder: string;

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'lazy-attention-'));
    folder = join(root, 'run');
    const text = join(root, 'book.txt');
    writeFileSync(text, 'Call me Ishmael. Some years ago, never mind how long precisely. '.repeat(40));
    const { code, stderr } = await run('train', text, '--tokenizer', TOKENIZER, ...TINY, '--out', folder);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  }, 120_000);
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('refers to a file beside run.json by its digest, and says by what program it was made', () => {
    const { data, environment } = read(join(folder, 'run.json'));
    expect(data.tokenizer).toEqual({
      kind: 'file',
      name: expect.any(String),
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(readdirSync(folder)).toContain(`tokenizer-${data.tokenizer.sha256.slice(0, 16)}.json`);
    expect(environment.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(environment.commit === null || /^[0-9a-f]{40}(-dirty)?$/.test(environment.commit)).toBe(true);
  });

  it('is read by every command, elsewhere too', async () => {
    const moved = join(root, 'moved');
    cpSync(folder, moved, { recursive: true });
    for (const args of [
      ['train', '--resume', '--steps', '8', '--out', moved, ...RHYTHM],
      ['generate', moved, '--prompt', 'Call me', '--tokens', '4', ...ON],
      ['eval', moved, '--windows', '2', ...ON],
      ['report', moved, '--out', join(root, 'report.html'), ...ON],
      ['export', moved, '--format', 'hf', '--out', join(root, 'hf')],
    ]) {
      const { code, stderr } = await run(...args);
      expect({ args, code, stderr: code === 0 ? '' : stderr }).toEqual({ args, code: 0, stderr: '' });
    }
    const exported = await run('export', moved, '--format', 'hf', '--out', join(root, 'hf-json'), '--json');
    expect(JSON.parse(exported.stdout)).toMatchObject({
      model: moved,
      format: 'hf',
      files: expect.arrayContaining([
        expect.stringMatching(/config\.json$/),
        expect.stringMatching(/tokenizer\.json$/),
      ]),
    });
  });

  it('of before, which holds the tokenizer itself, is read as well', async () => {
    const old = join(root, 'old');
    cpSync(folder, old, { recursive: true });
    const record = read(join(old, 'run.json'));
    const file = join(old, `tokenizer-${record.data.tokenizer.sha256.slice(0, 16)}.json`);
    const { version: _, commit: __, ...environment } = record.environment;
    const tokenizer = read(file);
    const embedded = { ...record, environment, data: { ...record.data, tokenizer } };
    writeFileSync(join(old, 'run.json'), JSON.stringify(embedded));
    rmSync(file);
    const resumed = await run('train', '--resume', '--steps', '7', '--out', old, ...RHYTHM);
    expect({ code: resumed.code, stderr: resumed.stderr }).toEqual({ code: 0, stderr: '' });
    expect((await run('generate', old, '--prompt', 'Call me', '--tokens', '4', ...ON)).code).toBe(0);
    // The record was written anew for the two further steps.
    expect(read(join(old, 'run.json')).data.tokenizer.kind).toBe('file');
  });

  it('says what is wrong when the file is gone or another', async () => {
    const broken = join(root, 'broken');
    cpSync(folder, broken, { recursive: true });
    const { sha256 } = read(join(broken, 'run.json')).data.tokenizer;
    const file = join(broken, `tokenizer-${sha256.slice(0, 16)}.json`);
    writeFileSync(file, `${readFileSync(file, 'utf8')} `);
    const changed = await run('generate', broken, '--prompt', 'x', ...ON);
    expect(changed).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_RECORD.*SHA-256 is not the one in/) });
    rmSync(file);
    const gone = await run('eval', broken, ...ON);
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_RECORD.*tokenizer-\w+\.json cannot be/) });
    expect(existsSync(file)).toBe(false);
  });
});

it('a comparison keeps it once for its plan, and goes on', { timeout: 180_000 }, async () => {
  const root = temporary();
  const text = join(root, 'book.txt');
  writeFileSync(text, 'Call me Ishmael. Some years ago, never mind how long precisely. '.repeat(40));
  const out = join(root, 'compare');
  const kinds = ['--attention', 'softmax,lazy'];
  const first = await run('compare', text, '--tokenizer', TOKENIZER, ...kinds, ...TINY, '--out', out);
  expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: '' });
  expect(read(join(out, 'compare.json')).record.data.tokenizer.kind).toBe('file');
  const again = await run('compare', '--resume', '--out', out, ...ON);
  expect({ code: again.code, stderr: again.stderr }).toEqual({ code: 0, stderr: '' });
});
