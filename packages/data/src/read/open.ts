import { basename, extname } from 'node:path';
import { checkOptions, ValueError } from '@lazy-attention/core';
import type { Corpus, Piece, ReadOptions } from '../corpus.ts';
import { DataError } from '../errors.ts';
import { firstBytes, requireFile, statOf } from './file.ts';
import { listFiles } from './folder.ts';
import { jsonlPieces } from './jsonl.ts';
import { mobyDickCorpus } from './moby-dick.ts';
import { checkParquet, parquetPieces } from './parquet.ts';
import { textPieces } from './text.ts';

/** What `openCorpus` takes. */
export interface CorpusOptions {
  /** Overrides the detection by name and content. */
  readonly format?: 'text' | 'jsonl' | 'parquet' | 'folder';
  /** JSONL: the field that holds the text. Default 'text'. */
  readonly field?: string;
  /** Parquet: the column that holds the text. Default 'text'. */
  readonly column?: string;
  /** Folder: the extensions of the files to read, with the dot. Default .txt .text .md .jsonl .ndjson .parquet */
  readonly extensions?: readonly string[];
}

/** The options of {@link openCorpus}, for callers that take them together with their own. */
export const CORPUS_OPTIONS = ['format', 'field', 'column', 'extensions'] as const;

type FileFormat = 'text' | 'jsonl' | 'parquet';

const FOLDER_EXTENSIONS = ['.txt', '.text', '.md', '.jsonl', '.ndjson', '.parquet'];

/**
 * Opens 'moby-dick' (the embedded book) or the path of a text file, a JSONL file, a parquet file or a folder of these. What can be checked
 * without reading everything is checked now, the rest while reading.
 * @throws DataError (DATA_MISSING, DATA_UNREADABLE, DATA_EMPTY, DATA_FORMAT, DATA_COLUMN) · ValueError for a wrong option
 */
export async function openCorpus(source: string, options: CorpusOptions = {}): Promise<Corpus> {
  checkOptions('openCorpus', options, CORPUS_OPTIONS);
  const { format, field = 'text', column = 'text', extensions = FOLDER_EXTENSIONS } = options;
  if (format !== undefined && !['text', 'jsonl', 'parquet', 'folder'].includes(format)) {
    throw new ValueError(`openCorpus: format is '${format}'; expected text, jsonl, parquet or folder`);
  }
  const badExtension = extensions.find((extension) => !extension.startsWith('.'));
  if (badExtension !== undefined) {
    throw new ValueError(
      `openCorpus: extensions holds '${badExtension}'; expected it to begin with a dot: '.${badExtension}'`,
    );
  }
  if (source === 'moby-dick') {
    refuseUnused('moby-dick', options, ['format', 'field', 'column', 'extensions']);
    return mobyDickCorpus();
  }

  const stats = await statOf(source);
  if (stats.isDirectory() !== (format === 'folder') && format !== undefined) {
    throw new ValueError(
      `openCorpus: format is '${format}', but ${source} is a ${stats.isDirectory() ? 'folder' : 'file'}`,
    );
  }
  const name = basename(source);
  const columns: TextPlace = { field, column };
  if (stats.isDirectory()) {
    // A folder may hold files of every kind.
    const files = await listFiles(source, extensions);
    return {
      name,
      kind: 'folder',
      singleDocument: false,
      pieces: (read = {}) => folderPieces(files, columns, read),
    };
  }
  requireFile(source, stats);
  if (stats.size === 0) throw new DataError('DATA_EMPTY', `${source}: the file is empty`);
  const kind = format === undefined || format === 'folder' ? await detectFormat(source) : format;
  const used = { text: [], jsonl: ['field'], parquet: ['column'] }[kind] as readonly string[];
  refuseUnused(
    `${source} (read as ${kind})`,
    options,
    ['field', 'column', 'extensions'].filter((name) => !used.includes(name)),
  );
  if (format === undefined && kind === 'text') refuseData(source);
  // Also when nothing is read of it: a file without permission or a wrong column shall fail here, not minutes later.
  await firstBytes(source, 1);
  if (kind === 'parquet') await checkParquet(source, column);
  return {
    name,
    kind,
    singleDocument: kind === 'text',
    pieces: (read = {}) => filePieces(source, kind, columns, read),
  };
}

/** Where the text stands in a record. */
type TextPlace = Required<Pick<CorpusOptions, 'field' | 'column'>>;

/** Data that reads as text, but whose braces and commas nobody means to train on. */
const DATA_EXTENSIONS = ['.json', '.csv', '.tsv'];

function refuseData(path: string): void {
  const extension = extname(path).toLowerCase();
  if (!DATA_EXTENSIONS.includes(extension)) return;
  throw new DataError(
    'DATA_FORMAT',
    `${path}: ${extension} files are not read as they are. Convert it to JSONL (one object per line), or choose: ` +
      `format 'jsonl' if it is that already, format 'text' to take every character of it as one document`,
  );
}

function refuseUnused(what: string, options: CorpusOptions, names: readonly string[]): void {
  for (const name of names) {
    if (options[name as keyof CorpusOptions] !== undefined) {
      throw new ValueError(`openCorpus: ${name} has no use for ${what}; leave it out`);
    }
  }
}

async function detectFormat(path: string): Promise<FileFormat> {
  const extension = extname(path).toLowerCase();
  if (extension === '.jsonl' || extension === '.ndjson') return 'jsonl';
  if (extension === '.parquet') return 'parquet';
  return String.fromCharCode(...(await firstBytes(path, 4))) === 'PAR1' ? 'parquet' : 'text';
}

function filePieces(
  path: string,
  format: FileFormat,
  { field, column }: TextPlace,
  options: ReadOptions,
): AsyncGenerator<Piece> {
  if (format === 'jsonl') return jsonlPieces(path, field, options);
  if (format === 'parquet') return parquetPieces(path, column, options);
  return textPieces(path, options);
}

async function* folderPieces(files: readonly string[], place: TextPlace, options: ReadOptions): AsyncGenerator<Piece> {
  for (const path of files) yield* filePieces(path, await detectFormat(path), place, options);
}
