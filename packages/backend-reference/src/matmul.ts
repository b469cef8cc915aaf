import type { MatmulProblem } from '@lazy-attention/core';
import { type Buffer, type RefTensor, store, values } from './storage.ts';

/** Rows of a and columns of b that one run of the inner loop covers: eight sums fit the registers of x64 and arm64. */
const TILE_M = 4;
const TILE_N = 2;

export function matmul(a: RefTensor, b: RefTensor, problem: MatmulProblem, accumulate: RefTensor | null): Buffer {
  const { batch, m, n, k, transposeA, transposeB } = problem;
  const out = accumulate === null ? new Float64Array(batch * m * n) : new Float64Array(accumulate.buffer);
  const left = values(a);
  const right = values(b);
  for (let i = 0; i < batch; i++) {
    // Both operands as rows along k, so that the inner loop reads memory in order whatever the transposes.
    const rows = pack(left, i * m * k, m, k, transposeA, TILE_M);
    const columns = pack(right, i * k * n, n, k, !transposeB, TILE_N);
    addProduct(out, i * m * n, rows, columns, m, n, k);
  }
  const result = store(out, a.dtype);
  if (accumulate === null) return result;
  accumulate.buffer.set(result);
  return accumulate.buffer;
}

/** The [count, k] (or, transposed, [k, count]) matrix at `offset` as [count rounded up to `multiple`, k], zero filled. */
function pack(
  source: Float64Array,
  offset: number,
  count: number,
  k: number,
  transposed: boolean,
  multiple: number,
): Float64Array {
  const packed = new Float64Array(Math.ceil(count / multiple) * multiple * k);
  if (!transposed) {
    packed.set(source.subarray(offset, offset + count * k));
    return packed;
  }
  for (let p = 0; p < k; p++) {
    const from = offset + p * count;
    for (let i = 0; i < count; i++) packed[i * k + p] = source[from + i];
  }
  return packed;
}

/** out[i, j] += sum_p rows[i, p] columns[j, p], each sum in the order of p. */
function addProduct(
  out: Float64Array,
  offset: number,
  rows: Float64Array,
  columns: Float64Array,
  m: number,
  n: number,
  k: number,
): void {
  const tile = new Float64Array(TILE_M * TILE_N);
  for (let i = 0; i < m; i += TILE_M) {
    for (let j = 0; j < n; j += TILE_N) {
      multiplyTile(tile, rows, i * k, columns, j * k, k);
      const iEnd = Math.min(TILE_M, m - i);
      const jEnd = Math.min(TILE_N, n - j);
      for (let ii = 0; ii < iEnd; ii++) {
        for (let jj = 0; jj < jEnd; jj++) out[offset + (i + ii) * n + j + jj] += tile[ii * TILE_N + jj];
      }
    }
  }
}

/** tile = four rows times two columns. Unrolled by hand: every loaded number is used two or four times. */
function multiplyTile(
  tile: Float64Array,
  rows: Float64Array,
  row: number,
  columns: Float64Array,
  column: number,
  k: number,
): void {
  let c00 = 0;
  let c01 = 0;
  let c10 = 0;
  let c11 = 0;
  let c20 = 0;
  let c21 = 0;
  let c30 = 0;
  let c31 = 0;
  for (let p = 0; p < k; p++) {
    const b0 = columns[column + p];
    const b1 = columns[column + k + p];
    const a0 = rows[row + p];
    const a1 = rows[row + k + p];
    const a2 = rows[row + 2 * k + p];
    const a3 = rows[row + 3 * k + p];
    c00 += a0 * b0;
    c01 += a0 * b1;
    c10 += a1 * b0;
    c11 += a1 * b1;
    c20 += a2 * b0;
    c21 += a2 * b1;
    c30 += a3 * b0;
    c31 += a3 * b1;
  }
  tile[0] = c00;
  tile[1] = c01;
  tile[2] = c10;
  tile[3] = c11;
  tile[4] = c20;
  tile[5] = c21;
  tile[6] = c30;
  tile[7] = c31;
}
