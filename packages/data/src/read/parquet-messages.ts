import type { DataErrorCode } from '../errors.ts';

/** What `parquet.ts` asks its process: 'open' for every file (null: with every column), then its row groups, one at a time. */
export type Question =
  | { readonly kind: 'open'; readonly path: string; readonly column: string | null }
  | { readonly kind: 'read'; readonly group: number; readonly rowStart: number; readonly rows: number };

/** What the process answers: any number of 'alive' while it gets on, then one of the others. */
export type Answer =
  | { readonly kind: 'alive' }
  | { readonly kind: 'opened'; readonly groups: readonly RowGroup[] }
  | { readonly kind: 'texts'; readonly texts: readonly (string | null)[] }
  | { readonly kind: 'rows'; readonly rows: readonly ParquetRow[] }
  | { readonly kind: 'failed'; readonly code: DataErrorCode; readonly message: string };

/** A row of a parquet file: a value for each column, null where it has none. */
export type ParquetRow = Readonly<Record<string, unknown>>;

/** What there is to read of one row group. */
export interface RowGroup {
  /** Its documents. */
  readonly rows: number;
  /** Bytes of what is read in the file, at most the whole file. */
  readonly bytes: number;
}
