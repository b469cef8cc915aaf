import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, symlinkSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { ValueError } from '@lazy-attention/core';
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import { openCorpus, textCorpus } from '../src/index.ts';
import { dataError, documentsOf, folderWith } from './helpers.ts';

const parquet = (columnData: ColumnSource[], rowGroupSize = 100): Uint8Array =>
  new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize }));
const stories = Array.from({ length: 25 }, (_, i) => `story ${i} \u{1f40b}`);
const storyFile = (): Uint8Array =>
  parquet(
    [
      { name: 'id', data: stories.map((_, i) => i), type: 'INT32' },
      { name: 'story', data: stories, type: 'STRING' },
    ],
    10,
  );

describe('moby-dick', () => {
  it('is one document of 1.2 MB that begins and ends as the book does', async () => {
    const corpus = await openCorpus('moby-dick');
    expect(corpus).toMatchObject({ name: 'moby-dick', singleDocument: true });
    const [text, ...more] = await documentsOf(corpus);
    expect(more).toEqual([]);
    expect(new TextEncoder().encode(text).length).toBe(1_220_849);
    // Every run on record was trained on these very bytes.
    expect(createHash('sha256').update(text).digest('hex')).toBe(
      '0e7863a03548b27daac1c45b704c4a1b9de923f8fae6635fdece14d7fab62791',
    );
    expect(text).toContain('CHAPTER 1. Loomings.\n\nCall me Ishmael. Some years ago');
    expect(text).toContain('found another orphan.');
    expect(text).not.toContain('\r');
  });
});

describe('text files', () => {
  it('are one document, whatever their extension, and can be read again', async () => {
    const text = 'caf\u00e9 '.repeat(100_000);
    const folder = folderWith({ 'a.txt': text, 'b.unknown': 'hello' });
    const corpus = await openCorpus(`${folder}/a.txt`);
    expect(corpus).toMatchObject({ name: 'a.txt', kind: 'text', singleDocument: true });
    expect(await documentsOf(corpus)).toEqual([text]);
    expect(await documentsOf(corpus)).toEqual([text]);
    expect(await documentsOf(await openCorpus(`${folder}/b.unknown`))).toEqual(['hello']);
  });

  it('are streamed', async () => {
    const corpus = await openCorpus(`${folderWith({ 'a.txt': 'x'.repeat(3_000_000) })}/a.txt`);
    for await (const { text } of corpus.pieces()) expect(text.length).toBeLessThanOrEqual(256 * 1024);
  });
});

describe('JSONL', () => {
  it('gives one document per line', async () => {
    const lines = ['{"text": "one", "n": 1}', '', '  ', '{"text": "two\\nlines"}\r', '{"text": ""}'].join('\n');
    const folder = folderWith({ 'a.jsonl': lines, 'b.ndjson': `${lines}\n`, 'c.txt': lines });
    const expected = ['one', 'two\nlines', ''];
    const corpus = await openCorpus(`${folder}/a.jsonl`);
    expect(corpus).toMatchObject({ kind: 'jsonl', singleDocument: false });
    expect(await documentsOf(corpus)).toEqual(expected);
    expect(await documentsOf(await openCorpus(`${folder}/b.ndjson`))).toEqual(expected);
    expect(await documentsOf(await openCorpus(`${folder}/c.txt`, { format: 'jsonl' }))).toEqual(expected);
  });

  it('reads lines longer than a read', async () => {
    const long = '\u00e9'.repeat(400_000);
    const path = `${folderWith({ 'a.jsonl': `${JSON.stringify({ body: long })}\n{"body":"x"}` })}/a.jsonl`;
    expect(await documentsOf(await openCorpus(path, { field: 'body' }))).toEqual([long, 'x']);
  });

  it.each([
    ['{"text": "a"}\n\n{"text": ', 'line 3: not JSON'],
    ['{"text": "a"}\n{"body": "b", "id": 1}', "line 2: no field 'text'; fields there: body, id"],
    ['{"text": 3}', "line 1: field 'text' is 3; expected a string"],
    ['["a"]', 'line 1: expected an object'],
    ['"a"', 'found a string'],
  ])('refuses %j', async (content, message) => {
    const corpus = await openCorpus(`${folderWith({ 'a.jsonl': content })}/a.jsonl`);
    expect((await dataError('DATA_FORMAT', () => documentsOf(corpus))).message).toContain(message);
  });
});

describe('parquet', () => {
  it('gives one document per row, over several row groups, by extension or by content', async () => {
    const folder = folderWith({ 'a.parquet': storyFile(), 'b.dat': storyFile() });
    for (const name of ['a.parquet', 'b.dat']) {
      const corpus = await openCorpus(`${folder}/${name}`, { column: 'story' });
      expect(corpus).toMatchObject({ kind: 'parquet', singleDocument: false });
      expect(await documentsOf(corpus)).toEqual(stories);
      expect(await documentsOf(corpus)).toEqual(stories);
    }
  });

  it('takes a null for an empty document', async () => {
    const path = `${folderWith({ 'a.parquet': parquet([{ name: 'text', data: ['a', null, 'b'], type: 'STRING' }]) })}/a.parquet`;
    expect(await documentsOf(await openCorpus(path))).toEqual(['a', '', 'b']);
  });

  it('refuses a column that is not there, and lists those that are', async () => {
    const path = `${folderWith({ 'a.parquet': storyFile() })}/a.parquet`;
    const error = await dataError('DATA_COLUMN', () => openCorpus(path));
    expect(error.message).toContain("no column 'text'; columns there: id, story.");
  });

  it('refuses a column that does not hold text', async () => {
    const path = `${folderWith({ 'a.parquet': storyFile() })}/a.parquet`;
    const corpus = await openCorpus(path, { column: 'id' });
    expect((await dataError('DATA_COLUMN', () => documentsOf(corpus))).message).toContain("column 'id' holds number");
  });

  it.each([
    ['invalid UTF-8', Uint8Array.of(0x61, 0xff, 0xfe)],
    ['NUL', Uint8Array.of(0x61, 0, 0x62)],
  ])('refuses a column of binary data: %s', async (_, bytes) => {
    const path = `${folderWith({ 'a.parquet': parquet([{ name: 'text', data: [bytes], type: 'BYTE_ARRAY' }]) })}/a.parquet`;
    await dataError('DATA_NOT_TEXT', async () => documentsOf(await openCorpus(path)));
  });

  it.each(['footer', 'pages'])('refuses a file with damaged %s', async (part) => {
    const bytes = storyFile();
    if (part === 'footer') bytes.fill(0xff, bytes.length - 60, bytes.length - 8);
    else bytes.fill(0xff, 4, 400);
    const path = `${folderWith({ 'a.parquet': bytes })}/a.parquet`;
    await dataError('DATA_FORMAT', async () => documentsOf(await openCorpus(path, { column: 'story' })));
  });

  it('refuses a file cut short, and text that calls itself parquet', async () => {
    const folder = folderWith({ 'a.parquet': storyFile().subarray(0, 300), 'b.parquet': 'just text' });
    await dataError('DATA_FORMAT', () => openCorpus(`${folder}/a.parquet`, { column: 'story' }));
    await dataError('DATA_FORMAT', () => openCorpus(`${folder}/b.parquet`));
  });
});

describe('folders', () => {
  it('are read in the order of their relative paths, without hidden files and other extensions', async () => {
    const folder = folderWith({
      'b.txt': 'b',
      'B.TXT': 'B',
      'a/z.md': 'a/z',
      'a/y/x.txt': 'a/y/x',
      'a.txt': 'a',
      '.hidden.txt': 'no',
      '.git/a.txt': 'no',
      'image.png': 'no',
      '\u00e9.txt': 'e',
      'c.jsonl': '{"text":"c1"}\n{"text":"c2"}',
      'd.parquet': parquet([{ name: 'text', data: ['d1', 'd2'], type: 'STRING' }]),
    });
    symlinkSync(folder, `${folder}/loop`);
    const corpus = await openCorpus(folder);
    expect(corpus).toMatchObject({ kind: 'folder', singleDocument: false });
    // 'B.TXT' < 'a.txt' < 'a/...': code units, '.' before '/'.
    expect(await documentsOf(corpus)).toEqual(['B', 'a', 'a/y/x', 'a/z', 'b', 'c1', 'c2', 'd1', 'd2', 'e']);
    expect(await documentsOf(await openCorpus(folder, { extensions: ['.md'] }))).toEqual(['a/z']);
  });

  it('without text files are refused, with what they hold', async () => {
    const folder = folderWith({ 'a.png': '1', 'b.png': '2', Makefile: '3' });
    expect((await dataError('DATA_EMPTY', () => openCorpus(folder))).message).toContain(
      'no files with the extensions .txt .text .md .jsonl .ndjson .parquet; extensions there: (none) (1), .png (2)',
    );
    expect((await dataError('DATA_EMPTY', () => openCorpus(folderWith({})))).message).toContain('it holds no files');
  });

  it('name the file that is at fault', async () => {
    const folder = folderWith({ 'a.txt': 'fine', 'b.txt': gzipSync('text') });
    expect((await dataError('DATA_NOT_TEXT', async () => documentsOf(await openCorpus(folder)))).message).toContain(
      'b.txt',
    );
  });
});

describe('bad sources', () => {
  it('missing', async () => {
    expect((await dataError('DATA_MISSING', () => openCorpus('/nowhere/at/all.txt'))).message).toBe(
      '/nowhere/at/all.txt: no such file or folder',
    );
  });

  it('empty', async () => {
    await dataError('DATA_EMPTY', () => openCorpus(`${folderWith({ 'a.txt': '' })}/a.txt`));
  });

  it('binary', async () => {
    const path = `${folderWith({ 'a.txt': Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 256) })}/a.txt`;
    await dataError('DATA_NOT_TEXT', async () => documentsOf(await openCorpus(path)));
  });

  it('unreadable: a loop of links, a pipe', async () => {
    const folder = folderWith({});
    symlinkSync(`${folder}/b`, `${folder}/a`);
    symlinkSync(`${folder}/a`, `${folder}/b`);
    await dataError('DATA_UNREADABLE', () => openCorpus(`${folder}/a`));
    execFileSync('mkfifo', [`${folder}/pipe`]);
    await dataError('DATA_UNREADABLE', () => openCorpus(`${folder}/pipe`));
  });

  it.skipIf(process.getuid?.() === 0)('unreadable: no permission (the superuser has every permission)', async () => {
    const folder = folderWith({ 'a.txt': 'text' });
    chmodSync(`${folder}/a.txt`, 0);
    expect((await dataError('DATA_UNREADABLE', () => openCorpus(`${folder}/a.txt`))).message).toContain('permissions');
  });

  it('options that are wrong', async () => {
    const folder = folderWith({ 'a.txt': 'text' });
    const path = `${folder}/a.txt`;
    await expect(openCorpus(path, { format: 'csv' as never })).rejects.toThrow(ValueError);
    await expect(openCorpus(path, { colum: 'x' } as never)).rejects.toThrow("unknown option 'colum'");
    await expect(openCorpus(path, { format: 'folder' })).rejects.toThrow('is a file');
    await expect(openCorpus(folder, { format: 'text' })).rejects.toThrow('is a folder');
    await expect(openCorpus(folder, { extensions: ['ts'] })).rejects.toThrow("'.ts'");
  });
});

it("textCorpus holds documents of one's own", async () => {
  expect(textCorpus('mine', ['a']).singleDocument).toBe(true);
  expect(textCorpus('mine', ['a', 'b']).singleDocument).toBe(false);
  expect(await documentsOf(textCorpus('mine', ['a', 'b']))).toEqual(['a', 'b']);
});
