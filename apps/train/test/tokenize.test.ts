import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { lockFolder } from '../src/run/lock.ts';
import { RHYTHM, run, start, TINY, temporary } from './helpers.ts';

const losses = (folder: string) => readMetrics(join(folder, 'metrics.jsonl')).metrics.map(({ loss }) => loss);

const contentOf = (folder: string) =>
  readdirSync(folder)
    .sort()
    .map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]);

function text(lines: number): string {
  return Array.from({ length: lines }, (_, i) => JSON.stringify({ text: `Line ${i * 31}: call me ${i % 17}. ` })).join(
    '\n',
  );
}

it('tokenize makes a store that train, --resume and eval use as they use the text', async () => {
  const root = temporary();
  const [data, store] = [join(root, 'a.jsonl'), join(root, 'tokens')];
  writeFileSync(data, text(500));
  const made = await run('tokenize', data, '--out', store, '--workers', '2', '--json');
  expect(made.code, made.stderr).toBe(0);
  expect(JSON.parse(made.stdout)).toMatchObject({ documents: 500, vocabSize: 257 });
  const [a, b] = [join(root, 'a'), join(root, 'b')];
  for (const [source, out] of [
    [data, a],
    [store, b],
  ] as const) {
    const { code, stderr } = await run('train', source, ...TINY, '--out', out);
    expect(code, stderr).toBe(0);
  }
  expect(losses(b)).toEqual(losses(a));
  const again = await run('train', '--resume', ...RHYTHM, '--out', b);
  expect(again.code, again.stderr).toBe(0);
  const evaluated = await run('eval', b, '--data', store, '--backend', 'reference', '--windows', '4', '--json');
  expect(JSON.parse(evaluated.stdout).loss).toBeGreaterThan(0);
  const other = await run('train', store, ...TINY, '--column', 'x', '--out', join(root, 'c'));
  expect(other.stderr).toContain('column has no use for a store');
});

it('goes on after kill -9 and Ctrl-C, to the same bytes; one process at a time', async () => {
  const root = temporary();
  const [data, whole, killed] = [join(root, 'a.txt'), join(root, 'whole'), join(root, 'killed')];
  writeFileSync(data, 'It was the best of times, it was the worst of times. '.repeat(1_000_000));
  expect((await run('tokenize', data, '--out', whole, '--workers', '1')).code).toBe(0);
  for (const signal of ['SIGKILL', 'SIGINT'] as const) {
    const { child, done } = start(['tokenize', data, '--out', killed, '--workers', '1']);
    const lock = join(killed, 'run.lock');
    const hasLock = () => existsSync(lock) && readFileSync(lock, 'utf8').includes(`"pid":${child.pid},`);
    while (!hasLock() && child.exitCode === null) await sleep(1);
    const second = await run('tokenize', data, '--out', killed);
    if (child.exitCode === null) expect(second.stderr).toContain('RUN_LOCKED');
    child.kill(signal);
    const { code, stderr } = await done;
    if (signal === 'SIGINT' && code !== 0) {
      expect(code).toBe(130);
      expect(stderr).toContain('The same command goes on where it was');
    }
  }
  const last = await run('tokenize', data, '--out', killed);
  expect(last.code, last.stderr).toBe(0);
  expect(contentOf(killed)).toEqual(contentOf(whole));
});

it('standard input goes into a store, and not into a run', async () => {
  const root = temporary();
  const refused = await run('train', '-', ...TINY, '--out', join(root, 'a'));
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain('tokenize - --out STORE');
  const [data, piped, read] = ['a.txt', 'piped', 'read'].map((name) => join(root, name)) as [string, string, string];
  writeFileSync(data, 'It was the best of times, it was the worst of times. '.repeat(2000));
  expect((await run('tokenize', data, '--out', read)).code).toBe(0);
  const { child, done } = start(['tokenize', '-', '--out', piped], {}, '', 'pipe');
  createReadStream(data).pipe(child.stdin as Writable);
  const { code, stderr } = await done;
  expect(code, stderr).toBe(0);
  const tokens = (folder: string) => readFileSync(join(folder, 'tokens-00000.bin'));
  expect(tokens(piped).equals(tokens(read))).toBe(true);
  expect((await run('train', piped, ...TINY, '--out', join(root, 'b'))).code).toBe(0);
});

it('large data is tokenised once, into a cache that is named and can be turned off', async () => {
  const root = temporary();
  const data = join(root, 'a.txt');
  writeFileSync(data, 'It was the best of times, it was the worst of times. '.repeat(1_250_000));
  const cache = { LAZY_ATTENTION_CACHE: join(root, 'cache') };
  const steps = [...TINY, '--steps', '1', '--warmup', '0'];
  const off = await start(['train', data, ...steps, '--no-store', '--out', join(root, 'off')], cache).done;
  expect(off.code, off.stderr).toBe(0);
  expect(existsSync(join(root, 'cache'))).toBe(false);
  for (const name of ['on', 'again']) {
    const { code, stdout, stderr } = await start(['train', data, ...steps, '--out', join(root, name)], cache).done;
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(
      /Tokens of a.txt \(66 MB\) are kept in .*cache.stores.a\.txt-\w{16}; --no-store turns that off/,
    );
    expect(losses(join(root, name))).toEqual(losses(join(root, 'off')));
    // The second opens what is whole while this process has its lock.
    const [store] = readdirSync(join(root, 'cache', 'stores'));
    const lock = lockFolder(join(root, 'cache', 'stores', store as string));
    onTestFinished(() => lock.release());
  }
  expect(readdirSync(join(root, 'cache', 'stores'))).toHaveLength(1);
});
