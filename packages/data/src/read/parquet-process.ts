/*
 * Reads parquet files in a process of its own. hyparquet 1.31 believes the sizes in a file: a damaged one can make it loop
 * for ever, fill the memory, or grow an array until V8 aborts, which no thread survives. `parquet.ts` asks, and watches the time.
 */
import { TextDecoder } from 'node:util';
import { Worker } from 'node:worker_threads';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import {
  type AsyncBuffer,
  asyncBufferFromFile,
  type ColumnMetaData,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetRead,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet';
import { DataError, messageOf } from '../errors.ts';
import { checkText } from './check-text.ts';
import type { Answer, ParquetRow, Question, RowGroup } from './parquet-messages.ts';

/** Of the file that is open. */
let path = '';
let column: string | null = '';

interface ParquetFile {
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
}

let opened: ParquetFile | undefined;

/** Reads the footer, and checks what it says of the column. Returns what there is to read. */
async function openFile(): Promise<RowGroup[]> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  const columns = parquetSchema(metadata).children.map((child) => child.element.name);
  if (column !== null && !columns.includes(column)) {
    throw new DataError(
      'DATA_COLUMN',
      `${path}: no column '${column}'; columns there: ${columns.join(', ') || 'none'}. Name one with the option 'column'`,
    );
  }
  const rows = metadata.row_groups.map((group) => Number(group.num_rows));
  const total = rows.reduce((sum, count) => sum + count, 0);
  if (!rows.every((count) => Number.isSafeInteger(count) && count >= 0) || total !== Number(metadata.num_rows)) {
    throw damaged('its footer', `its row groups have ${rows.join(' + ')} rows, and the file ${metadata.num_rows}`);
  }
  opened = { file, metadata };
  return rows.map((count, group) => {
    const bytes = chunksOf(metadata, group).reduce((sum, chunk) => sum + Number(chunk.total_compressed_size), 0);
    return { rows: count, bytes: Math.min(Math.max(0, bytes), file.byteLength) };
  });
}

/** What the footer says of the parts of a row group that are read. */
function chunksOf(metadata: FileMetaData, group: number): ColumnMetaData[] {
  const chunks = metadata.row_groups[group]?.columns.flatMap(({ meta_data }) => meta_data ?? []) ?? [];
  return column === null ? chunks : chunks.filter(({ path_in_schema }) => path_in_schema[0] === column).slice(0, 1);
}

/** The texts of one row group; null where the row has none. */
async function readTexts(group: number, rowStart: number, rows: number): Promise<(string | null)[]> {
  const name = column as string;
  let found: unknown[][] = [];
  await parquetRead({
    ...(await readingOf(group, rowStart, rows)),
    columns: [name],
    onComplete: (complete: unknown[][]) => {
      found = complete;
    },
  });
  checkCount(found, group, rows);
  return found.map(([value], i) => textOf(value, group, rowStart + i));
}

/** All columns of one row group. */
async function readRows(group: number, rowStart: number, rows: number): Promise<ParquetRow[]> {
  const found = await parquetReadObjects(await readingOf(group, rowStart, rows));
  checkCount(found, group, rows);
  const { metadata } = opened as ParquetFile;
  const names = parquetSchema(metadata).children.map((child) => child.element.name);
  for (const [i, row] of found.entries()) {
    if (names.some((name) => row[name] === undefined))
      throw damaged(`row group ${group}`, `row ${rowStart + i} is missing from its pages`);
  }
  return found;
}

function checkCount(found: readonly unknown[], group: number, rows: number): void {
  if (found.length !== rows)
    throw damaged(`row group ${group}`, `it has ${rows} rows, of which ${found.length} are there`);
}

/** How hyparquet is to read a row group. @throws DataError (DATA_FORMAT) for a flat column of another number of values */
async function readingOf(group: number, rowStart: number, rows: number) {
  const { file, metadata } = opened as ParquetFile;
  const chunks = chunksOf(metadata, group);
  for (const { path_in_schema, num_values } of chunks) {
    // Of a flat column, which text is: one value or null per row.
    if (path_in_schema.length === 1 && Number(num_values) !== rows)
      throw damaged(`row group ${group}`, `it has ${rows} rows, and its column ${num_values} values`);
  }
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return {
    file,
    metadata,
    rowStart,
    rowEnd: rowStart + rows,
    compressors: await decompressors(chunks.map(({ codec }) => codec)),
    parsers: { stringFromBytes: (bytes: Uint8Array | undefined) => bytes && decodeText(decoder, bytes) },
    onPage: () => post({ kind: 'alive' }),
  };
}

function textOf(value: unknown, group: number, row: number): string | null {
  if (value === null) return null;
  if (value === undefined) throw damaged(`row group ${group}`, `row ${row} is missing from its pages`);
  if (typeof value !== 'string') {
    const found = typeof value === 'object' ? (value.constructor?.name ?? 'object') : typeof value;
    throw new DataError('DATA_COLUMN', `${path}, row ${row}: column '${column}' holds ${found}; expected text`);
  }
  return checkText(`${path}, row ${row}: column '${column}'`, value);
}

/** Bytes of the largest page that is unpacked. */
const LARGEST_PAGE = 2 ** 30;

/**
 * What unpacks a codec. hyparquet has snappy itself; the library of the rest starts WebAssembly, which takes 10 GB of
 * address space, so it is loaded for the files that need it.
 */
async function decompressors(codecs: readonly string[]): Promise<Compressors> {
  const known: Compressors = {
    GZIP: (input) => gunzipSync(input, { maxOutputLength: LARGEST_PAGE }),
    BROTLI: (input) => brotliDecompressSync(input, { maxOutputLength: LARGEST_PAGE }),
  };
  const without = ['UNCOMPRESSED', 'SNAPPY', ...Object.keys(known)];
  if (codecs.every((codec) => without.includes(codec))) return known;
  return { ...(await import('hyparquet-compressors')).compressors, ...known };
}

function decodeText(decoder: TextDecoder, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new DataError(
      'DATA_NOT_TEXT',
      `${path}: parquet: invalid UTF-8${column === null ? '' : ` in column '${column}'`}`,
      { cause },
    );
  }
}

function damaged(part: string, what: string): DataError {
  return new DataError('DATA_FORMAT', `${path}: parquet: ${part} cannot be read: ${what}; the file is damaged`);
}

function post(answer: Answer): void {
  process.send?.(answer);
}

async function answer(question: Question): Promise<Answer> {
  const part = question.kind === 'open' ? 'its footer' : `row group ${question.group}`;
  try {
    if (question.kind === 'open') {
      ({ path, column } = question);
      return { kind: 'opened', groups: await openFile() };
    }
    const { group, rowStart, rows } = question;
    if (column === null) return { kind: 'rows', rows: await readRows(group, rowStart, rows) };
    return { kind: 'texts', texts: await readTexts(group, rowStart, rows) };
  } catch (error) {
    const { code, message } =
      error instanceof DataError
        ? error
        : new DataError('DATA_FORMAT', `${path}: parquet: ${part} cannot be read: ${messageOf(error)}`);
    return { kind: 'failed', code, message };
  }
}

/*
 * In a loop without end neither a message nor `disconnect` is seen. A thread of its own sees that whoever asked was killed: this process
 * has another parent then, or, on Windows, a parent that is gone.
 */
const WATCH = `
  const parent = process.ppid;
  const gone = () => {
    if (process.ppid !== parent) return true;
    try {
      process.kill(parent, 0);
      return false;
    } catch (error) {
      return error.code === 'ESRCH';
    }
  };
  setInterval(() => gone() && process.kill(process.pid, 'SIGKILL'), 1000);
`;
new Worker(WATCH, { eval: true, stdin: false, resourceLimits: { maxOldGenerationSizeMb: 16 } }).unref();

process.on('message', async (question: Question) => post(await answer(question)));
// The one who asked decides: a signal to the terminal's whole group is meant for it, and when it is gone so is this one.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('disconnect', () => process.exit());
