import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import {
  byteTokenizer,
  type Corpus,
  DataError,
  type DataErrorCode,
  type Piece,
  splitStore,
  type TokenSplit,
  type TokenStore,
  textCorpus,
  tokenizeCorpus,
} from '../src/index.ts';

/** A folder with these files, gone after the test. */
export function folderWith(files: Record<string, string | Uint8Array>): string {
  const folder = mkdtempSync(join(tmpdir(), 'lazy-attention-data-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

export async function documentsOf(corpus: Corpus): Promise<string[]> {
  const documents: string[] = [];
  let text = '';
  for await (const piece of corpus.pieces() as AsyncIterable<Piece>) {
    text += piece.text;
    if (!piece.last) continue;
    documents.push(text);
    text = '';
  }
  if (text !== '') throw new Error('the last document does not end');
  return documents;
}

export async function byteStore(documents: readonly string[], documentSeparator = true): Promise<TokenStore> {
  return tokenizeCorpus(textCorpus('test', documents), byteTokenizer({ documentSeparator }));
}

export async function wholeSplit(documents: readonly string[], documentSeparator = true): Promise<TokenSplit> {
  return splitStore(await byteStore(documents, documentSeparator), { validation: 0 }).train;
}

export function tokensOf(store: TokenStore, start = 0, end = store.length): number[] {
  const out = new Int32Array(end - start);
  store.read(start, end - start, out, 0);
  return [...out];
}

/** The error that `work` throws; it must be a DataError with this code. */
export async function dataError(code: DataErrorCode, work: () => unknown): Promise<DataError> {
  let thrown: unknown;
  try {
    await work();
  } catch (error) {
    thrown = error;
  }
  if (!(thrown instanceof DataError))
    throw new Error(`expected a DataError ${code}, got ${String(thrown)}`, { cause: thrown });
  if (thrown.code !== code) throw new Error(`expected ${code}, got ${thrown.code}: ${thrown.message}`);
  return thrown;
}
