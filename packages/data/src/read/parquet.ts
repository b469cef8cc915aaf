import { TextDecoder } from 'node:util';
import {
  type AsyncBuffer,
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetRead,
  parquetSchema,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { Piece } from '../corpus.ts';
import { DataError, messageOf } from '../errors.ts';
import { withPathErrors } from './file.ts';

interface ParquetFile {
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
}

/**
 * Reads the footer alone.
 * @throws DataError (DATA_FORMAT) for a damaged file, (DATA_COLUMN) when it has no column of that name
 */
export async function openParquet(path: string, column: string): Promise<ParquetFile> {
  const file = await withPathErrors(path, () => asyncBufferFromFile(path));
  const metadata = await withFormatErrors(path, 'its footer', () => parquetMetadataAsync(file));
  const columns = parquetSchema(metadata).children.map((child) => child.element.name);
  if (!columns.includes(column)) {
    throw new DataError(
      'DATA_COLUMN',
      `${path}: no column '${column}'; columns there: ${columns.join(', ') || 'none'}. Name one with the option 'column'`,
    );
  }
  return { file, metadata };
}

/** One document per row, one row group in memory at a time. A null is an empty document. */
export async function* parquetPieces(path: string, column: string): AsyncGenerator<Piece> {
  const { file, metadata } = await openParquet(path, column);
  let rowStart = 0;
  for (const [group, { num_rows }] of metadata.row_groups.entries()) {
    const rowEnd = rowStart + Number(num_rows);
    const rows = await withFormatErrors(path, `row group ${group}`, () =>
      readRows({ file, metadata }, column, rowStart, rowEnd),
    );
    for (const [i, [value]] of rows.entries()) {
      if (value !== null && value !== undefined && typeof value !== 'string') {
        const found = typeof value === 'object' ? (value.constructor?.name ?? 'object') : typeof value;
        throw new DataError(
          'DATA_COLUMN',
          `${path}, row ${rowStart + i}: column '${column}' holds ${found}; expected text`,
        );
      }
      if (value?.includes('\0')) {
        throw new DataError(
          'DATA_NOT_TEXT',
          `${path}, row ${rowStart + i}: column '${column}' holds binary data (a NUL character)`,
        );
      }
      yield { text: value ?? '', last: true };
    }
    rowStart = rowEnd;
  }
}

async function readRows(
  { file, metadata }: ParquetFile,
  column: string,
  rowStart: number,
  rowEnd: number,
): Promise<unknown[][]> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let rows: unknown[][] = [];
  await parquetRead({
    file,
    metadata,
    columns: [column],
    rowStart,
    rowEnd,
    compressors,
    parsers: { stringFromBytes: (bytes: Uint8Array | undefined) => bytes && decodeText(decoder, bytes) },
    onComplete: (complete: unknown[][]) => {
      rows = complete;
    },
  });
  return rows;
}

function decodeText(decoder: TextDecoder, bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new DataError('DATA_NOT_TEXT', 'invalid UTF-8 in the text column', { cause });
  }
}

async function withFormatErrors<T>(path: string, part: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = cause instanceof DataError ? cause.code : 'DATA_FORMAT';
    throw new DataError(code, `${path}: parquet: ${part} cannot be read: ${messageOf(cause)}`, { cause });
  }
}
