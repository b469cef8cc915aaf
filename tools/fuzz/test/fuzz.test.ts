import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DTypeError } from '@lazy-attention/core';
import { describe, expect, it } from 'vitest';
import { mutateBytes } from '../dist/mutate/bytes.js';
import { mutateJson } from '../dist/mutate/json.js';
import { randomOf } from '../dist/random.js';
import { keyOf, runStretch } from '../dist/supervise.js';
import { fileTarget } from '../dist/targets/file.js';
import { isTyped } from '../dist/typed.js';

const LIMITS = { caseMilliseconds: 60_000, residentBytes: 2 ** 31 };

describe('mutators', () => {
  it('give the same case again for the same seed, and others for other indices', () => {
    const bytes = Uint8Array.from({ length: 200 }, (_, i) => i);
    const of = (index: number) => mutateBytes(bytes, randomOf(5, 'x', index)).join();
    expect(of(3)).toBe(of(3));
    expect(new Set(Array.from({ length: 50 }, (_, i) => of(i))).size).toBeGreaterThan(40);
    expect(bytes[7]).toBe(7); // the original is as it was
  });

  it('spoil values of JSON, and say when it is none', () => {
    const text = JSON.stringify({ a: 1, b: { c: [1, 2, 'x'] } });
    const spoilt = Array.from({ length: 200 }, (_, i) => mutateJson(text, randomOf(1, 'j', i)));
    expect(spoilt.every((one) => one !== null)).toBe(true);
    expect(spoilt.filter((one) => one !== text).length).toBeGreaterThan(150);
    expect(mutateJson('{', randomOf(1, 'j', 0))).toBeNull();
  });
});

describe('what counts as a finding', () => {
  it('typed errors of the project do not, all others do', () => {
    expect(isTyped(new DTypeError('op: x is i32'))).toBe(true);
    expect(isTyped(new TypeError('x is undefined'))).toBe(false);
    expect(isTyped(Object.assign(new Error('no such file'), { code: 'ENOENT' }))).toBe(false);
    expect(isTyped('thrown text')).toBe(false);
  });

  it('an untyped error of a reader is one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fuzz-test-'));
    let valid = true;
    const target = fileTarget({
      name: 'broken',
      extension: '.txt',
      json: false,
      valid: async () => [new Uint8Array(8)],
      read: async () => {
        if (!valid) throw new RangeError('out of bounds');
        valid = false;
      },
    });
    const prepared = await target.prepare(folder);
    await expect(prepared.attempt(randomOf(1, 'broken', 0))).rejects.toThrow('out of bounds');
    rmSync(folder, { recursive: true });
  });

  it('two cases of one fault have one key', () => {
    const finding = { target: 't', seed: 1, index: 1, kind: 'untyped' as const, message: 'TypeError: x[3]\n at f:7:1' };
    expect(keyOf(finding)).toBe(keyOf({ ...finding, index: 9, message: 'TypeError: x[12]\n at f:8:2' }));
    expect(keyOf(finding)).not.toBe(keyOf({ ...finding, kind: 'hang' }));
  });
});

describe('supervision', () => {
  it('counts what a child tried', async () => {
    const { tried, finding } = await runStretch('text', 1, 0, 50, LIMITS);
    expect(finding).toBeNull();
    expect(tried).toBe(50);
  });

  it('ends a child that takes too much memory', async () => {
    const { finding } = await runStretch('text', 1, 0, 1_000_000, { ...LIMITS, residentBytes: 1 });
    expect(finding?.kind).toBe('memory');
  });

  it('ends a child that does not answer', async () => {
    const { finding } = await runStretch('text', 1, 0, 1_000_000, { ...LIMITS, caseMilliseconds: -1 });
    expect(finding?.kind).toBe('hang');
  });
});

/** What continuous integration tries each time: every target, and a run to which things happen. */
describe('a minute', () => {
  it('of all targets finds nothing', () => {
    const { stdout, status } = program('cli.js', '1');
    expect(stdout).toMatch(/, 0 findings\n$/);
    expect(status, stdout).toBe(0);
  }, 300_000);

  it('of faults loses nothing', () => {
    const { stdout, status } = program('soak/cli.js', '--kills', '6', '--others', '10');
    expect(stdout).toMatch(/ 6 kills .*, 10 other faults, \d+ runs brought to their end, 0 things lost/);
    expect(status, stdout).toBe(0);
  }, 600_000);
});

function program(name: string, ...args: string[]) {
  const path = fileURLToPath(new URL(`../dist/${name}`, import.meta.url));
  return spawnSync(process.execPath, [path, ...args], { encoding: 'utf8' });
}
