import { columnsPerEntry, type TensorData, type WeightBlocks, type WeightPart } from '@lazy-attention/core';

/** Arrays of elements, codes or scales. */
type Rows = TensorData | Uint32Array | Uint16Array | Int8Array;

/** Of the rows of q and k in GGUF's order for `llama`: pairs (x[2j], x[2j + 1]) rotate together there, halves here. */
export function isRotated(name: string): boolean {
  return /\.attn\.[qk]_proj\.(weight|bias)$/.test(name);
}

/**
 * Puts whole heads of rows from pairs-side-by-side into rotate-halves order: row 2j + i of a head goes to row i D/2 + j; `back` is the
 * inverse. `data` are rows of `columns` elements.
 */
export function reorderHeads<T extends Rows>(data: T, columns: number, headDim: number, back = false): T {
  const out = data.slice() as T;
  const half = headDim / 2;
  const rows = data.length / columns;
  for (let row = 0; row < rows; row++) {
    const within = row % headDim;
    const pairs = row - within + 2 * (within % half) + Math.floor(within / half);
    const [from, to] = back ? [row, pairs] : [pairs, row];
    out.set(data.subarray(from * columns, (from + 1) * columns) as never, to * columns);
  }
  return out;
}

/** The same of rows in blocks: all lists of a row go with it. */
export function reorderBlocks(blocks: WeightBlocks, columns: number, headDim: number): WeightBlocks {
  const lists = blocks as unknown as Record<WeightPart, Rows>;
  const moved = Array.from(columnsPerEntry(blocks.dtype), ([part, shared]) => [
    part,
    reorderHeads(lists[part], columns / shared, headDim),
  ]);
  return { ...blocks, ...Object.fromEntries(moved) };
}
