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
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetRead,
  parquetSchema,
} from 'hyparquet';
import { DataError, messageOf } from '../errors.ts';
import { checkText } from './check-text.ts';
import type { Answer, Question, RowGroup } from './parquet-messages.ts';

/** Of the file that is open. */
let path = '';
let column = '';

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
  if (!columns.includes(column)) {
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
    const bytes = Number(chunkOf(metadata, group)?.total_compressed_size ?? 0);
    return { rows: count, bytes: Math.min(Math.max(0, bytes), file.byteLength) };
  });
}

/** What the footer says of the column's part in a row group. */
function chunkOf(metadata: FileMetaData, group: number) {
  return metadata.row_groups[group]?.columns.find(({ meta_data }) => meta_data?.path_in_schema[0] === column)
    ?.meta_data;
}

/** The texts of one row group; null where the row has none. */
async function readGroup(group: number, rowStart: number, rows: number): Promise<(string | null)[]> {
  const { file, metadata } = opened as ParquetFile;
  const chunk = chunkOf(metadata, group);
  // Of a flat column, which text is: one value or null per row.
  const values = chunk?.path_in_schema.length === 1 ? Number(chunk.num_values) : rows;
  if (values !== rows) throw damaged(`row group ${group}`, `it has ${rows} rows, and its column ${values} values`);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let found: unknown[][] = [];
  await parquetRead({
    file,
    metadata,
    columns: [column],
    rowStart,
    rowEnd: rowStart + rows,
    compressors: await decompressors(chunk?.codec),
    parsers: { stringFromBytes: (bytes: Uint8Array | undefined) => bytes && decodeText(decoder, bytes) },
    onPage: () => post({ kind: 'alive' }),
    onComplete: (complete: unknown[][]) => {
      found = complete;
    },
  });
  if (found.length !== rows)
    throw damaged(`row group ${group}`, `it has ${rows} rows, of which ${found.length} are there`);
  return found.map(([value], i) => textOf(value, group, rowStart + i));
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
async function decompressors(codec: string | undefined): Promise<Compressors> {
  const known: Compressors = {
    GZIP: (input) => gunzipSync(input, { maxOutputLength: LARGEST_PAGE }),
    BROTLI: (input) => brotliDecompressSync(input, { maxOutputLength: LARGEST_PAGE }),
  };
  if (codec === undefined || ['UNCOMPRESSED', 'SNAPPY', ...Object.keys(known)].includes(codec)) return known;
  return { ...(await import('hyparquet-compressors')).compressors, ...known };
}

function decodeText(decoder: TextDecoder, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new DataError('DATA_NOT_TEXT', `${path}: parquet: invalid UTF-8 in column '${column}'`, { cause });
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
    return { kind: 'texts', texts: await readGroup(question.group, question.rowStart, question.rows) };
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
