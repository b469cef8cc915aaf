import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { ValueError } from '@lazy-attention/core';
import { describe, expect, it } from 'vitest';
import { byteTokenizer, createSampler, DataError, type DatasetOptions, loadDataset, textCorpus } from '../src/index.ts';
import { dataError, folderWith } from './helpers.ts';

const fixture = new URL('fixtures/byte-level.json', import.meta.url).pathname;

describe('loadDataset', () => {
  it('reads the embedded book with 256 ids and holds out its end', async () => {
    const data = await loadDataset('moby-dick', { context: 64 });
    expect(data.tokenizer.vocabSize).toBe(256);
    expect(data).toMatchObject({ method: 'tail' });
    expect(data.train.length + data.validation!.length).toBe(1_220_849);
    expect(data.validation!.bytes).toBe(data.validation!.length);
    expect(data.fingerprint).toMatchInlineSnapshot(`"6cbfa27f952090bff838224162e76e26"`);
  });

  it('gives many documents a separator', async () => {
    const folder = folderWith({ 'a.txt': 'x'.repeat(100), 'b.txt': 'y'.repeat(100) });
    const data = await loadDataset(folder, { context: 8 });
    expect(data.tokenizer).toMatchObject({ vocabSize: 257, eosId: 256 });
    const batch = createSampler(data.train, { context: 8, batch: 20, seed: 0 }).next();
    expect(batch.starts).not.toBeNull();
  });

  it('takes a tokeniser, or the path of one, and a corpus', async () => {
    const corpus = textCorpus('mine', ['the whale '.repeat(50)]);
    expect((await loadDataset(corpus, { context: 8, tokenizer: fixture })).tokenizer.vocabSize).toBe(400);
    const own = byteTokenizer({ documentSeparator: true });
    expect((await loadDataset(corpus, { context: 8, tokenizer: own })).tokenizer).toBe(own);
  });

  it('puts the tokens around documents that are asked for', async () => {
    const corpus = textCorpus('mine', ['the whale '.repeat(50), 'the sea '.repeat(50)]);
    const metaspace = new URL('fixtures/metaspace.json', import.meta.url).pathname;
    const load = (options: Partial<DatasetOptions>) => loadDataset(corpus, { context: 8, validation: 0, ...options });
    const own = await load({ tokenizer: metaspace });
    const bare = await load({ tokenizer: metaspace, bos: null, eos: null });
    expect(own.store.length - bare.store.length).toBe(4);
    expect(own.tokenizer.encode('whale')).toEqual(bare.tokenizer.encode('whale'));
    const begun = await load({ tokenizer: metaspace, bos: '<s>', eos: null });
    expect(begun.tokenizer).toMatchObject({ bosId: own.tokenizer.bosId });
    expect(begun.store.length - bare.store.length).toBe(2);
    expect(begun.fingerprint).not.toBe(own.fingerprint);
    expect((await load({ eos: null })).tokenizer).toMatchObject({ bosId: 256, fingerprint: 'bytes-257-before' });
    expect((await load({ bos: null, eos: null })).tokenizer.vocabSize).toBe(256);
    await dataError('TOKENIZER', () => load({ tokenizer: metaspace, eos: '<nowhere>' }));
    await dataError('TOKENIZER', () => load({ bos: '<s>' }));
    await expect(load({ tokenizer: own.tokenizer, bos: null })).rejects.toThrow(ValueError);
  });

  it('passes on the options of the corpus, the split and the work', async () => {
    const folder = folderWith({
      'a.jsonl': Array.from({ length: 50 }, (_, i) => JSON.stringify({ body: `body ${i}` })).join('\n'),
    });
    const seen: number[] = [];
    const options = {
      context: 8,
      field: 'body',
      validation: 0.5,
      onProgress: (p: { tokens: number }) => seen.push(p.tokens),
    };
    const a = await loadDataset(`${folder}/a.jsonl`, { ...options, splitSeed: 1 });
    const b = await loadDataset(`${folder}/a.jsonl`, { ...options, splitSeed: 2 });
    expect(a.method).toBe('documents');
    expect(a.fingerprint).toBe(b.fingerprint);
    expect(a.train.fingerprint).not.toBe(b.train.fingerprint);
    expect(seen).toEqual([a.store.length, a.store.length]);
  });

  it('refuses data too short for one window on either side', async () => {
    const path = `${folderWith({ 'a.txt': 'x'.repeat(100) })}/a.txt`;
    expect((await dataError('DATA_TOO_SHORT', () => loadDataset(path, { context: 128 }))).message).toBe(
      "loadDataset: a.txt: training part: 90 tokens are fewer than one window of 128; use more text, or the option 'context' of at most 90",
    );
    expect((await dataError('DATA_TOO_SHORT', () => loadDataset(path, { context: 64 }))).message).toContain(
      'validation part: 10 tokens',
    );
    expect((await loadDataset(path, { context: 64, validation: 0 })).validation).toBeNull();
  });

  it('refuses unknown options and a wrong context before it reads anything', async () => {
    await expect(loadDataset('/nowhere', { context: 8, colum: 'x' } as never)).rejects.toThrow(
      "unknown option 'colum'",
    );
    await expect(loadDataset('/nowhere', { context: 1.5 })).rejects.toThrow(ValueError);
    await dataError('DATA_MISSING', () => loadDataset('/nowhere', { context: 8 }));
  });
});

it('DataError has a name, a code and a cause', () => {
  const cause = new Error('why');
  const error = new DataError('DATA_EMPTY', 'message', { cause });
  expect(error).toMatchObject({ name: 'DataError', code: 'DATA_EMPTY', message: 'message', cause });
});

it('the browser entry reaches no module of Node', () => {
  const reached = new Set<string>();
  const visit = (url: URL): void => {
    if (reached.has(url.href)) return;
    reached.add(url.href);
    // Types are gone when it runs.
    const source = readFileSync(url, 'utf8').replaceAll(/^(import|export) type [^;]*;/gm, '');
    for (const [, specifier] of source.matchAll(/from '([^']+)'/g)) {
      expect(specifier).not.toMatch(/^node:|hyparquet|stdlib/);
      if (specifier!.startsWith('.')) visit(new URL(specifier!, url));
    }
  };
  visit(new URL('../src/browser.ts', import.meta.url));
  expect(reached.size).toBeGreaterThan(10);
});

describe('README', () => {
  it('runs as printed, and prints what its comments say', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const code = /<!-- test: use -->\s*```ts\n(.*?)```/s.exec(readme)![1]!;
    const promised = [...code.matchAll(/console\.log\(.*?\); \/\/ (\d+)/g)].map((match) => match[1]);
    expect(promised.length).toBe(3);
    // In this package's folder, where its own name resolves.
    const output = execFileSync(process.execPath, ['--input-type=module', '--eval', code], {
      cwd: new URL('..', import.meta.url),
      encoding: 'utf8',
    });
    expect(output.trim().split('\n')).toEqual(promised);
  });
});
