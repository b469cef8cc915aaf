import type { Shape, TensorData, WeightBlocks } from '@lazy-attention/core';

/** A tensor that is still in its file. */
export interface StoredTensor {
  /** The file, for messages. */
  readonly file: string;
  /** Element type or quantisation, as the file calls it: F32, BF16, Q4_1, ... */
  readonly type: string;
  /** Sizes, outermost first. */
  readonly shape: Shape;
  /** `begin` of a read is a multiple of it; left out: 1. */
  readonly step?: number;
  /** Elements of rows `begin` to `end` of the first axis (of a scalar: 0 to 1), widened to numbers. */
  read(begin: number, end: number): Promise<TensorData>;
  /** The same rows in the file's blocks, where it has some. */
  readonly blocks?: (begin: number, end: number) => Promise<WeightBlocks>;
}

/** The tensors of a model by the names of its files. */
export type TensorStore = ReadonlyMap<string, StoredTensor>;

/** Rows of the first axis, and elements in each; a scalar is one row of one. */
export function rowsOf(shape: Shape): { readonly rows: number; readonly columns: number } {
  if (shape.length === 0) return { rows: 1, columns: 1 };
  return { rows: shape[0], columns: shape.slice(1).reduce((product, size) => product * size, 1) };
}
