import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { main } from '../src/cli.ts';

const written = { out: '', err: '' };

beforeEach(() => {
  Object.assign(written, { out: '', err: '' });
  const into = (key: 'out' | 'err') => (text: string | Uint8Array) => {
    written[key] += text;
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(into('out'));
  vi.spyOn(process.stderr, 'write').mockImplementation(into('err'));
});

afterEach(() => {
  vi.restoreAllMocks();
});

test('prints the matrix of a backend that passes', async () => {
  expect(await main(['reference', '--size', 'small', '--only', 'swiglu'])).toBe(0);
  expect(written.out).toMatch(/^op\s+reference forward\s+backward\nswiglu\s+(\d+)\/\1\s+(\d+)\/\2\n$/);
});

test('writes the objects to a file with --out, and prints nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'));
  try {
    const out = join(folder, 'results.jsonl');
    expect(await main(['reference', '--size', 'small', '--only', 'rope f32 offset', '--out', out])).toBe(0);
    expect(JSON.parse(readFileSync(out, 'utf8').split('\n')[0]!)).toMatchObject({
      backend: 'reference',
      status: 'passed',
    });
    expect(written).toEqual({ out: '', err: '' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('prints one object per test with --json', async () => {
  expect(await main(['reference', '--size', 'small', '--only', 'rope f32 offset', '--json'])).toBe(0);
  expect(JSON.parse(written.out)).toMatchObject({ backend: 'reference', name: 'rope f32 offset', status: 'passed' });
});

test.for([
  [['nope'], "backend 'nope' is not available"],
  [['reference', '--size', 'huge'], "--size is 'huge'; expected small or full"],
  [['reference', '--only', 'nothing like it'], "--only 'nothing like it' matches no test"],
  [['--backend', 'reference'], 'usage: lazy-attention-conformance'],
] as const)('%s is a mistake in the command', async ([args, message]) => {
  expect(await main(args)).toBe(2);
  expect(written.err).toContain(message);
});

test('explains itself', async () => {
  expect(await main(['--help'])).toBe(0);
  expect(written.out).toContain('usage:');
});
