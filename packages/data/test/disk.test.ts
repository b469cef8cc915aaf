import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  byteTokenizer,
  type Corpus,
  createSampler,
  loadDataset,
  loadTokenizer,
  openCorpus,
  openTokenStore,
  textCorpus,
  tokenizeCorpus,
  validationBatches,
  type WriteStoreOptions,
  writeTokenStore,
} from '../src/index.ts';
import { dataError, documentsOf, folderWith, tokensOf } from './helpers.ts';

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const words = 'the sea and the ship, the captain; a whale \u{1f40b} breached twice before dawn'.split(' ');

/** Documents of all lengths: none, one token, longer than a group. */
function documents(count: number): string[] {
  return Array.from({ length: count }, (_, d) =>
    Array.from({ length: d % 7 === 3 ? 0 : (d * 37) % 211 }, (_, i) => words[(i * i + d) % words.length]).join(' '),
  ).concat(Array.from({ length: 30_000 }, (_, i) => words[(i * 7) % words.length]).join(' '));
}

function jsonl(texts: readonly string[]): string {
  return texts.map((text) => `${JSON.stringify({ text })}\n`).join('');
}

function contentOf(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex'),
      ]),
  );
}

const small: WriteStoreOptions = { workers: 2, shardTokens: 5000 };

/** Stops after so many groups, as a kill does, but for what `writeTokenStore` saves. */
function stopping(corpus: Corpus, after: number): { corpus: Corpus; signal: AbortSignal } {
  const controller = new AbortController();
  let seen = 0;
  const parts = (corpus.parts ?? []).map((part) => ({
    ...part,
    async *pieces(options = {}) {
      for await (const piece of part.pieces(options)) {
        if (++seen > after) controller.abort(new Error('stopped'));
        yield piece;
      }
    },
  }));
  return { corpus: { ...corpus, parts }, signal: controller.signal };
}

describe('a store on the disk', () => {
  it.each(['bytes', 'byte-level.json'])('holds what memory holds, and gives the same batches: %s', async (name) => {
    const folder = folderWith({ 'a.jsonl': jsonl(documents(300)) });
    const tokenizer =
      name === 'bytes' ? byteTokenizer({ documentSeparator: true }) : await loadTokenizer(fixture(name));
    const corpus = await openCorpus(join(folder, 'a.jsonl'));
    const memory = await tokenizeCorpus(corpus, tokenizer);
    await writeTokenStore(corpus, tokenizer, join(folder, 'store'), small);
    const { store } = openTokenStore(join(folder, 'store'));
    expect(tokensOf(store)).toEqual(tokensOf(memory));
    for (const key of ['length', 'documents', 'skipped', 'bytes', 'vocabSize', 'fingerprint'] as const) {
      expect(store[key], key).toBe(memory[key]);
    }
    for (let end = 0; end <= store.length; end += 997) expect(store.bytesBefore(end)).toBe(memory.bytesBefore(end));
    const options = { context: 64, tokenizer };
    const [a, b] = [await loadDataset(join(folder, 'store'), options), await loadDataset(corpus, options)];
    expect([a.fingerprint, a.train.fingerprint]).toEqual([b.fingerprint, b.train.fingerprint]);
    const [x, y] = [a, b].map(({ train }) => createSampler(train, { context: 64, batch: 8, seed: 3 }));
    for (let step = 0; step < 40; step++) expect(x!.next()).toEqual(y!.next());
    expect([...validationBatches(a.validation!, { context: 64, batch: 4 })]).toEqual([
      ...validationBatches(b.validation!, { context: 64, batch: 4 }),
    ]);
  });

  it('has the same bytes for any number of threads, stopped anywhere or not', async () => {
    const texts = documents(400);
    const folder = folderWith({ 'in/a.jsonl': jsonl(texts.slice(0, 250)), 'in/b.jsonl': jsonl(texts.slice(250)) });
    const tokenizer = byteTokenizer({ documentSeparator: true });
    const corpus = await openCorpus(join(folder, 'in'));
    await writeTokenStore(corpus, tokenizer, join(folder, 'one'), { ...small, workers: 1 });
    await writeTokenStore(corpus, tokenizer, join(folder, 'three'), { ...small, workers: 3 });
    const expected = contentOf(join(folder, 'one'));
    expect(contentOf(join(folder, 'three'))).toEqual(expected);
    for (const after of [1, 130, 260, 399]) {
      const out = join(folder, `stopped-${after}`);
      const { corpus: stopped, signal } = stopping(corpus, after);
      await expect(writeTokenStore(stopped, tokenizer, out, { ...small, signal })).rejects.toThrow('stopped');
      await dataError('STORE_INCOMPLETE', () => openTokenStore(out));
      await writeTokenStore(corpus, tokenizer, out, small);
      expect(contentOf(out), `after ${after}`).toEqual(expected);
    }
  });

  it('is made of a folder of parquet files, as FineWeb-Edu is published, and goes on within it', async () => {
    const texts = documents(200);
    const part = (from: number, to: number) => {
      const some = texts.slice(from, to);
      const ids = some.map((_, i) => `<urn:uuid:${i}>`);
      const columnData = [
        { name: 'text', data: some, type: 'STRING' as const },
        { name: 'id', data: ids, type: 'STRING' as const },
      ];
      return new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 40 }));
    };
    const folder = folderWith({
      '10BT/000_00000.parquet': part(0, 120),
      '10BT/001_00000.parquet': part(120, texts.length),
      'a.jsonl': jsonl(texts),
    });
    const tokenizer = byteTokenizer({ documentSeparator: true });
    const corpus = await openCorpus(join(folder, '10BT'));
    const { corpus: stopped, signal } = stopping(corpus, 150);
    const out = join(folder, 'store');
    await expect(writeTokenStore(stopped, tokenizer, out, { ...small, signal })).rejects.toThrow('stopped');
    await writeTokenStore(corpus, tokenizer, out, small);
    const { store } = openTokenStore(out);
    const memory = await tokenizeCorpus(await openCorpus(join(folder, 'a.jsonl')), tokenizer);
    expect(tokensOf(store)).toEqual(tokensOf(memory));
    expect(store.documents).toBe(memory.documents);
  });

  it('tells progress and the time that is left, and leaves a whole store as it is', async () => {
    const folder = folderWith({ 'a.txt': 'so it goes. '.repeat(50_000) });
    const seen: { read: number; total: number | null; secondsLeft: number | null }[] = [];
    const corpus = await openCorpus(join(folder, 'a.txt'));
    const write = () =>
      writeTokenStore(corpus, byteTokenizer(), join(folder, 's'), { workers: 1, onProgress: (p) => seen.push(p) });
    await write();
    expect(seen.at(-1)).toMatchObject({ read: 600_000, total: 600_000, secondsLeft: 0, tokens: 600_000 });
    const before = statSync(join(folder, 's', 'index.json')).mtimeMs;
    await write();
    expect(statSync(join(folder, 's', 'index.json')).mtimeMs).toBe(before);
  });

  it('is not begun without text', async () => {
    const folder = folderWith({});
    await dataError('DATA_EMPTY', () => writeTokenStore(textCorpus('none', ['']), byteTokenizer(), join(folder, 's')));
  });
});

describe('bad stores', () => {
  async function made(): Promise<string> {
    const folder = folderWith({ 'a.jsonl': jsonl(documents(50)) });
    const corpus = await openCorpus(join(folder, 'a.jsonl'));
    await writeTokenStore(corpus, byteTokenizer({ documentSeparator: true }), join(folder, 's'), small);
    return join(folder, 's');
  }

  it('of another tokeniser', async () => {
    const store = await made();
    const other = await loadTokenizer(fixture('metaspace.json'));
    const error = await dataError('STORE_TOKENIZER', () => loadDataset(store, { context: 8, tokenizer: other }));
    expect(error.message).toContain('bytes (257 ids)');
    expect((await loadDataset(store, { context: 8, tokenizer: 'bytes' })).tokenizer.vocabSize).toBe(257);
  });

  it.each(['tokens-00001.bin', 'documents.bin', 'marks.bin', 'tokenizer-used.json'])('cut short: %s', async (name) => {
    const store = await made();
    truncateSync(join(store, name), statSync(join(store, name)).size - 1);
    const { message } = await dataError('STORE_DAMAGED', () => openTokenStore(store));
    expect(message).toMatch(new RegExp(`${name}: .*cut short.*tokenise again`));
    rmSync(join(store, name));
    expect((await dataError('STORE_DAMAGED', () => openTokenStore(store))).message).toContain('is missing');
  });

  it.each(['tokens-00001.bin', 'documents.bin', 'marks.bin', 'tokenizer-used.json', 'index.json'])(
    'with a changed byte: %s',
    async (name) => {
      const store = await made();
      const bytes = readFileSync(join(store, name));
      const at = name === 'index.json' ? bytes.indexOf('"documents": ') + 13 : bytes.length >> 1;
      bytes[at] = name === 'index.json' ? (bytes[at] === 0x31 ? 0x32 : 0x31) : bytes[at]! ^ 1;
      writeFileSync(join(store, name), bytes);
      const error = await dataError('STORE_DAMAGED', () => tokensOf(openTokenStore(store).store));
      expect(error.message).toContain(`${name}: was changed`);
    },
  );

  it('of a newer version', async () => {
    const store = await made();
    const text = readFileSync(join(store, 'index.json'), 'utf8');
    writeFileSync(join(store, 'index.json'), text.replace('"version": 1', '"version": 2'));
    expect((await dataError('STORE_VERSION', () => openTokenStore(store))).message).toContain('upgrade');
  });

  it('begun for other data, or in a folder of something else', async () => {
    const store = await made();
    const other = textCorpus('other', ['some text']);
    await dataError('STORE_EXISTS', () => writeTokenStore(other, byteTokenizer(), store));
    const folder = folderWith({ 'mine.txt': 'mine', 'b.txt': 'x'.repeat(300_000) });
    await dataError('STORE_EXISTS', () => writeTokenStore(other, byteTokenizer(), folder));
    const { corpus, signal } = stopping(await openCorpus(join(folder, 'b.txt')), 1);
    const out = join(folder, 's');
    await expect(writeTokenStore(corpus, byteTokenizer(), out, { signal })).rejects.toThrow('stopped');
    writeFileSync(join(folder, 'b.txt'), 'y'.repeat(300_000));
    const changed = await openCorpus(join(folder, 'b.txt'));
    await dataError('STORE_EXISTS', () => writeTokenStore(changed, byteTokenizer(), out));
  });

  it('on a disk that fills: what is there stays, and with more room it goes on', async (context) => {
    const folder = folderWith({ 'a.txt': 'a fine line of text. '.repeat(100_000) });
    const disk = join(folder, 'disk');
    try {
      execFileSync('mkdir', [disk]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'ignore' });
    } catch {
      context.skip('a small disk cannot be mounted here: not the superuser');
    }
    onTestFinished(() => void execFileSync('umount', [disk]));
    const corpus = await openCorpus(join(folder, 'a.txt'));
    const write = () => writeTokenStore(corpus, byteTokenizer(), join(disk, 's'), { workers: 1, shardTokens: 100_000 });
    expect((await dataError('STORE_WRITE', write)).message).toMatch(/disk\/s\/.*no space left.*make room/);
    execFileSync('mount', ['-o', 'remount,size=8m', disk]);
    await write();
    expect(openTokenStore(join(disk, 's')).store.length).toBe(2_100_000);
  });
});

describe('packed and streamed text', () => {
  // `zstd` of "so it goes. " 1000 times, then a line break
  const zstd = readFileSync(fixture('goes.txt.zst'));
  const text = `${'so it goes. '.repeat(1000)}\n`;

  it('.gz and .zst, alone and in folders', async () => {
    const folder = folderWith({
      'a.txt.gz': gzipSync(text),
      'b.txt.zst': zstd,
      'c.jsonl.gz': gzipSync(jsonl(['x', 'y'])),
    });
    expect(await documentsOf(await openCorpus(folder))).toEqual([text, text, 'x', 'y']);
    expect(await documentsOf(await openCorpus(join(folder, 'b.txt.zst')))).toEqual([text]);
    expect((await openCorpus(join(folder, 'c.jsonl.gz'))).kind).toBe('jsonl');
  });

  it.each(['a.txt.gz', 'b.txt.zst'])('damaged or cut short: %s', async (name) => {
    const whole = name.endsWith('.gz') ? gzipSync(text) : zstd;
    const changed = Uint8Array.from(whole, (byte, i) => (i === whole.length >> 1 ? byte ^ 0xff : byte));
    for (const bytes of [whole.subarray(0, whole.length - 9), changed]) {
      const folder = folderWith({ [name]: bytes });
      const read = async () => documentsOf(await openCorpus(join(folder, name)));
      await read().then(
        (found) => expect(found).not.toEqual([text]),
        (error) => expect(error).toMatchObject({ code: expect.stringMatching(/^DATA_(FORMAT|NOT_TEXT)$/) }),
      );
    }
    const cut = folderWith({ [name]: whole.subarray(0, whole.length - 9) });
    const error = await dataError('DATA_FORMAT', async () => documentsOf(await openCorpus(join(cut, name))));
    expect(error.message).toContain('cut short');
  });

  it('from a server, whole, packed, missing, gone', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/a.txt') return void response.end(text);
      if (request.url === '/b.jsonl.gz') return void response.end(gzipSync(jsonl(['x', 'y'])));
      if (request.url !== '/cut.txt') return void response.writeHead(404).end();
      response.writeHead(200, { 'content-length': 5000 });
      if (request.method === 'HEAD') return void response.end();
      response.write('some');
      setTimeout(() => response.destroy(), 20);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await documentsOf(await openCorpus(`${at}/a.txt`))).toEqual([text]);
    expect(await documentsOf(await openCorpus(`${at}/b.jsonl.gz`))).toEqual(['x', 'y']);
    await dataError('DATA_MISSING', () => openCorpus(`${at}/none.txt`));
    await dataError('DATA_FORMAT', () => openCorpus(`${at}/a.parquet`));
    await dataError('DATA_UNREADABLE', async () => documentsOf(await openCorpus(`${at}/cut.txt`)));
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect((await dataError('DATA_UNREADABLE', () => openCorpus(`${at}/a.txt`))).message).toContain('ECONNREFUSED');
  });
});
