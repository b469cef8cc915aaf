import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadTokenizer, openCorpus, readParquetRows } from '@lazy-attention/data';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { fileTarget } from './file.ts';
import type { Target } from './target.ts';

const LINES = ['It was the best of times,', 'it was the worst of times', '', 'naïve café — 東京 🎉', 'x'.repeat(300)];
const utf8 = (text: string) => new TextEncoder().encode(text);

const tokenizerFiles = ['byte-level', 'metaspace'].map(
  (name) => new Uint8Array(readFileSync(fileURLToPath(fixture(name)))),
);

function fixture(name: string): URL {
  return new URL(`../../../../packages/data/test/fixtures/${name}.json`, import.meta.url);
}

async function readCorpus(path: string): Promise<void> {
  const corpus = await openCorpus(path);
  for await (const piece of corpus.pieces()) void piece;
}

function parquet(codec: 'UNCOMPRESSED' | 'SNAPPY', rows: number): Uint8Array {
  const data = Array.from({ length: rows }, (_, i) => LINES[i % LINES.length] as string);
  const buffer = parquetWriteBuffer({
    codec,
    rowGroupSize: 20,
    columnData: [
      { name: 'text', data, type: 'STRING' },
      { name: 'id', data: data.map((_, i) => i), type: 'INT32' },
    ],
  });
  return new Uint8Array(buffer);
}

/** Readers of text and of tokenizers. */
export const TEXT_TARGETS: readonly Target[] = [
  fileTarget({
    name: 'text',
    extension: '.txt',
    json: false,
    valid: async () => [utf8(LINES.join('\n'))],
    read: readCorpus,
  }),
  fileTarget({
    name: 'jsonl',
    extension: '.jsonl',
    json: false,
    valid: async () => [utf8(LINES.map((text, id) => JSON.stringify({ id, text })).join('\n'))],
    read: readCorpus,
  }),
  fileTarget({
    name: 'parquet',
    extension: '.parquet',
    json: false,
    valid: async () => [parquet('UNCOMPRESSED', 45), parquet('SNAPPY', 45)],
    read: readCorpus,
  }),
  fileTarget({
    name: 'rows',
    extension: '.parquet',
    json: false,
    valid: async () => [parquet('UNCOMPRESSED', 45), parquet('SNAPPY', 45)],
    read: (path) => readParquetRows(path),
  }),
  fileTarget({
    name: 'tokenizer',
    extension: '.json',
    json: true,
    valid: async () => tokenizerFiles,
    read: async (path) => {
      const tokenizer = await loadTokenizer(path);
      for (const line of LINES) tokenizer.decode(tokenizer.encode(line));
    },
  }),
];
