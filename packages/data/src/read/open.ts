import type { Stats } from 'node:fs';
import { basename, extname, relative, sep } from 'node:path';
import { checkOptions, ValueError } from '@lazy-attention/core';
import type { Corpus, CorpusPart, Piece, ReadOptions } from '../corpus.ts';
import { isStore } from '../disk/format.ts';
import { DataError } from '../errors.ts';
import { fileChunks, firstBytes, requireFile, statOf } from './file.ts';
import { listFiles } from './folder.ts';
import { jsonlPieces } from './jsonl.ts';
import { mobyDickCorpus } from './moby-dick.ts';
import { checkParquet, parquetPieces } from './parquet.ts';
import { isUrl, STDIN, stdinChunks, urlChunks, urlFacts } from './stream.ts';
import { textPieces } from './text.ts';
import { packingOf, unpack, unpackAny } from './unpack.ts';

/** What `openCorpus` takes. */
export interface CorpusOptions {
  /** Overrides the detection by name and content. */
  readonly format?: 'text' | 'jsonl' | 'parquet' | 'folder';
  /** JSONL: the field that holds the text. Default 'text'. */
  readonly field?: string;
  /** Parquet: the column that holds the text. Default 'text'. */
  readonly column?: string;
  /** Folder: the extensions of the files to read, with the dot, also behind .gz or .zst. Default .txt .text .md .jsonl .ndjson .parquet */
  readonly extensions?: readonly string[];
}

/** The options of {@link openCorpus}, for callers that take them together with their own. */
export const CORPUS_OPTIONS = ['format', 'field', 'column', 'extensions'] as const;

type FileFormat = 'text' | 'jsonl' | 'parquet';

const FOLDER_EXTENSIONS = ['.txt', '.text', '.md', '.jsonl', '.ndjson', '.parquet'];

/**
 * Opens 'moby-dick' (the embedded book), the path of a text file, a JSONL file, a parquet file or a folder of these, '-'
 * (standard input, once), or an http address. Text and JSONL may be packed: .gz, .zst. What can be checked without reading
 * everything is checked now, the rest while reading.
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

  if (source === STDIN || isUrl(source)) return openStream(source, options, { field, column });

  const stats = await statOf(source);
  if (stats.isDirectory() !== (format === 'folder') && format !== undefined) {
    throw new ValueError(
      `openCorpus: format is '${format}', but ${source} is a ${stats.isDirectory() ? 'folder' : 'file'}`,
    );
  }
  if (stats.isDirectory()) return openFolder(source, extensions, { field, column });
  requireFile(source, stats);
  if (stats.size === 0) throw new DataError('DATA_EMPTY', `${source}: the file is empty`);
  const kind = format === undefined || format === 'folder' ? await detectFormat(source) : format;
  refuseUnusedPlaces(`${source} (read as ${kind})`, kind, options);
  if (format === undefined && kind === 'text') refuseData(source);
  // Also when nothing is read of it: a file without permission or a wrong column shall fail here, not minutes later.
  await firstBytes(source, 1);
  if (kind === 'parquet') await checkParquet(source, column);
  const part = filePart(source, basename(source), stats, { field, column }, kind);
  return { name: part.name, kind, singleDocument: kind === 'text', pieces: part.pieces, parts: [part] };
}

async function openFolder(folder: string, extensions: readonly string[], place: TextPlace): Promise<Corpus> {
  if (isStore(folder)) {
    throw new DataError(
      'DATA_FORMAT',
      `${folder}: is a store of tokens and not of text; open it with loadDataset or openTokenStore`,
    );
  }
  // A folder may hold files of every kind.
  const parts: CorpusPart[] = [];
  for (const path of await listFiles(folder, extensions)) {
    parts.push(filePart(path, relative(folder, path).split(sep).join('/'), await statOf(path), place));
  }
  return {
    name: basename(folder),
    kind: 'folder',
    singleDocument: false,
    async *pieces(read = {}) {
      for (const part of parts) yield* part.pieces(read);
    },
    parts,
  };
}

/** Standard input, or a file that a server has: read from its beginning to its end. */
async function openStream(source: string, options: CorpusOptions, place: TextPlace): Promise<Corpus> {
  const { packing, name } = packingOf(source === STDIN ? STDIN : new URL(source).pathname);
  const kind = options.format ?? extensionFormat(name) ?? 'text';
  if (kind === 'parquet' || kind === 'folder') {
    throw new DataError(
      'DATA_FORMAT',
      `${source}: a ${kind} cannot be read from ${source === STDIN ? 'standard input' : 'a server'}; copy it to the disk first`,
    );
  }
  refuseUnusedPlaces(`${source} (read as ${kind})`, kind, options);
  if (options.format === undefined) refuseData(name);
  const said = source === STDIN ? 'standard input' : source;
  const facts = source === STDIN ? { size: null, stamp: null } : await urlFacts(source);
  const pieces = (read: ReadOptions = {}): AsyncGenerator<Piece> => {
    const chunks = source === STDIN ? stdinChunks(read) : urlChunks(source, read);
    const unpacked = packing === null ? unpackAny(said, chunks) : unpack(said, packing, chunks);
    return kind === 'jsonl' ? jsonlPieces(said, place.field, unpacked) : textPieces(said, unpacked);
  };
  const shown = source === STDIN ? 'standard input' : basename(new URL(source).pathname) || source;
  return {
    name: shown,
    kind,
    singleDocument: kind === 'text',
    pieces,
    parts: [{ name: shown, ...facts, stamp: facts.stamp && `${facts.stamp} ${kind} ${place.field}`, pieces }],
  };
}

/** Where the text stands in a record. */
type TextPlace = Required<Pick<CorpusOptions, 'field' | 'column'>>;

/** Data that reads as text, but whose braces and commas nobody means to train on. */
const DATA_EXTENSIONS = ['.json', '.csv', '.tsv'];

function refuseData(path: string): void {
  const extension = extname(packingOf(path).name).toLowerCase();
  if (!DATA_EXTENSIONS.includes(extension)) return;
  throw new DataError(
    'DATA_FORMAT',
    `${path}: ${extension} files are not read as they are. Convert it to JSONL (one object per line), or choose with ` +
      `the option 'format': 'jsonl' if it is that already, 'text' to take every character of it as one document`,
  );
}

function refuseUnused(what: string, options: CorpusOptions, names: readonly string[]): void {
  for (const name of names) {
    if (options[name as keyof CorpusOptions] !== undefined) {
      throw new ValueError(`openCorpus: the option '${name}' has no use for ${what}; leave it out`);
    }
  }
}

function refuseUnusedPlaces(what: string, kind: FileFormat, options: CorpusOptions): void {
  const used = { text: [], jsonl: ['field'], parquet: ['column'] }[kind] as readonly string[];
  refuseUnused(
    what,
    options,
    ['field', 'column', 'extensions'].filter((name) => !used.includes(name)),
  );
}

/** What an extension says, behind that of a packing. */
function extensionFormat(name: string): FileFormat | null {
  const extension = extname(packingOf(name).name).toLowerCase();
  if (extension === '.jsonl' || extension === '.ndjson') return 'jsonl';
  return extension === '.parquet' ? 'parquet' : null;
}

async function detectFormat(path: string): Promise<FileFormat> {
  const said = extensionFormat(path);
  if (said !== null) return said;
  return String.fromCharCode(...(await firstBytes(path, 4))) === 'PAR1' ? 'parquet' : 'text';
}

function filePart(path: string, name: string, stats: Stats, place: TextPlace, format?: FileFormat): CorpusPart {
  return {
    name,
    size: stats.size,
    stamp: `${stats.size} ${stats.mtimeMs} ${format ?? ''} ${place.field} ${place.column}`,
    async *pieces(read = {}) {
      const kind = format ?? (await detectFormat(path));
      if (kind === 'parquet') return void (yield* parquetPieces(path, place.column, read));
      const chunks = unpack(path, packingOf(path).packing, fileChunks(path, read));
      yield* kind === 'jsonl' ? jsonlPieces(path, place.field, chunks) : textPieces(path, chunks);
    },
  };
}
