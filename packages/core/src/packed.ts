import { fromBF16Bits, fromF16Bits, isPacked, PACKED_DTYPES, type PackedDType, type TensorData } from './dtype.ts';
import { DTypeError, ShapeError, ValueError } from './errors.ts';
import { describe, formatShape, type Shape, typedLength } from './shape.ts';

/** Rows that lie together, one per lane of the widest vectors. */
export const PACKED_ROWS = 16;
/** Columns that share a scale. */
export const PACKED_COLUMNS = 32;
/** A row's sums over blocks are kept on a thread's stack. */
const MOST_COLUMNS = 1 << 16;
/** Words of a block of 16 x 32. */
const WORDS: Readonly<Record<PackedDType, number>> = { w4: 80, w8: 136, w16: 256 };

/**
 * A matrix [N, K] of weights in few bits, as `Backend.packed` takes it to a device; N is a multiple of 16, K of 32 and at most 65,536.
 * Its words lie as kernels read them: 16 rows together, and of those block after block of 32 columns.
 * - w4, 80 words a block: the rows' scales d, then their offsets m, in f16; then 4 x 16 words, of which word j of a row has its codes
 *   c of columns 8j to 8j + 7, the first in the lowest bits. A weight is d c + m.
 * - w8, 136 words a block: the rows' scales d in f16; then for each column the rows' codes, int8. A weight is d c.
 * - w16, 256 words a block: for each two columns a word per row, bf16 each, the first in the lower half.
 */
export interface PackedWeights {
  /** Which of the three. */
  readonly dtype: PackedDType;
  /** [N, K] */
  readonly shape: Shape;
  /** As said above, little-endian. */
  readonly words: Int32Array;
}

/** Whether a matrix of this shape can be packed. */
export function packs(shape: Shape): boolean {
  return (
    Array.isArray(shape) &&
    shape.length === 2 &&
    shape[0] % PACKED_ROWS === 0 &&
    shape[1] % PACKED_COLUMNS === 0 &&
    shape[0] > 0 &&
    shape[1] > 0 &&
    shape[1] <= MOST_COLUMNS
  );
}

/**
 * w4 of codes in rows: [N, K / 8] words of eight, the first in the lowest bits, and [N, K / 32] scales and offsets as bits of f16.
 * @throws ShapeError, ValueError for scales or offsets that are not finite
 */
export function packFourBits(
  shape: Shape,
  codes: Uint32Array,
  scales: Uint16Array,
  offsets: Uint16Array,
): PackedWeights {
  const parts: Parts = { codes: [codes, 8], scales: [scales, 32], offsets: [offsets, 32] };
  const { groups, blocks } = sizesOf('packFourBits', shape, parts);
  checkFiniteHalves('packFourBits', { scales, offsets });
  const words = new Int32Array(groups * blocks * WORDS.w4);
  const halves = new Uint16Array(words.buffer);
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < PACKED_ROWS; row++) {
      const from = (group * PACKED_ROWS + row) * blocks;
      for (let block = 0; block < blocks; block++) {
        const at = (group * blocks + block) * WORDS.w4;
        halves[2 * at + row] = scales[from + block];
        halves[2 * at + 16 + row] = offsets[from + block];
        for (let j = 0; j < 4; j++) words[at + 16 + 16 * j + row] = codes[4 * (from + block) + j];
      }
    }
  }
  return { dtype: 'w4', shape, words };
}

/**
 * w8 of codes [N, K] and scales [N, K / 32] as bits of f16.
 * @throws ShapeError, ValueError for scales that are not finite
 */
export function packEightBits(shape: Shape, codes: Int8Array, scales: Uint16Array): PackedWeights {
  const { groups, blocks } = sizesOf('packEightBits', shape, { codes: [codes, 1], scales: [scales, 32] });
  checkFiniteHalves('packEightBits', { scales });
  const words = new Int32Array(groups * blocks * WORDS.w8);
  const halves = new Uint16Array(words.buffer);
  const bytes = new Int8Array(words.buffer);
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < PACKED_ROWS; row++) {
      const from = (group * PACKED_ROWS + row) * blocks;
      for (let block = 0; block < blocks; block++) {
        const at = (group * blocks + block) * WORDS.w8;
        halves[2 * at + row] = scales[from + block];
        const to = 4 * at + 32 + row;
        for (let column = 0; column < 32; column++) bytes[to + 16 * column] = codes[32 * (from + block) + column];
      }
    }
  }
  return { dtype: 'w8', shape, words };
}

/** w16 of bf16 bits [N, K]. @throws ShapeError */
export function packBF16(shape: Shape, bits: Uint16Array): PackedWeights {
  const { groups, blocks } = sizesOf('packBF16', shape, { bits: [bits, 1] });
  const words = new Int32Array(groups * blocks * WORDS.w16);
  const columns = blocks * PACKED_COLUMNS;
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < PACKED_ROWS; row++) {
      const from = (group * PACKED_ROWS + row) * columns;
      const to = (group * columns * PACKED_ROWS) / 2 + row;
      for (let pair = 0; pair < columns / 2; pair++) {
        words[to + 16 * pair] = bits[from + 2 * pair] | (bits[from + 2 * pair + 1] << 16);
      }
    }
  }
  return { dtype: 'w16', shape, words };
}

/** The weights as numbers [N, K], each rounded to f32 once. */
export function unpackWeights(packed: PackedWeights): Float32Array {
  const { dtype, words } = checkPacked('unpackWeights', packed);
  const [rows, columns] = packed.shape;
  const out = new Float32Array(rows * columns);
  const halves = new Uint16Array(words.buffer, words.byteOffset, words.length * 2);
  const bytes = new Int8Array(words.buffer, words.byteOffset, words.byteLength);
  const blockWords = WORDS[dtype];
  const blocks = columns / PACKED_COLUMNS;
  for (let row = 0; row < rows; row++) {
    const lane = row % PACKED_ROWS;
    for (let column = 0; column < columns; column++) {
      const at = (Math.floor(row / PACKED_ROWS) * blocks + Math.floor(column / PACKED_COLUMNS)) * blockWords;
      const within = column % PACKED_COLUMNS;
      out[row * columns + column] = WEIGHT[dtype](halves, bytes, at, lane, within);
    }
  }
  return out;
}

type WeightAt = (halves: Uint16Array, bytes: Int8Array, at: number, row: number, column: number) => number;

/** The weight of a row and column of the block whose words begin at `at`. */
const WEIGHT: Readonly<Record<PackedDType, WeightAt>> = {
  w4: (halves, bytes, at, row, column) => {
    const byte = bytes[4 * (at + 16 + 16 * (column >> 3) + row) + ((column & 7) >> 1)];
    return (
      fromF16Bits(halves[2 * at + row]) * ((byte >> (4 * (column & 1))) & 15) + fromF16Bits(halves[2 * at + 16 + row])
    );
  },
  w8: (halves, bytes, at, row, column) => fromF16Bits(halves[2 * at + row]) * bytes[4 * at + 32 + 16 * column + row],
  w16: (halves, _, at, row, column) => fromBF16Bits(halves[2 * (at + 16 * (column >> 1) + row) + (column & 1)]),
};

/** @internal What `Backend.packed` is given, read once. @throws DTypeError, ShapeError, ValueError */
export function checkPacked(op: string, packed: PackedWeights): PackedWeights {
  if (typeof packed !== 'object' || packed === null) {
    throw new ValueError(
      `${op}: weights are ${describe(packed)}; expected what packFourBits, packEightBits or packBF16 returned`,
    );
  }
  const { dtype, shape, words } = packed;
  if (!isPacked(dtype))
    throw new DTypeError(`${op}: dtype is ${describe(dtype)}; expected one of ${PACKED_DTYPES.join(', ')}`);
  const sizes = Array.isArray(shape) ? Array.from<number>(shape) : shape;
  const { groups, blocks } = sizesOf(op, sizes, {});
  const expected = groups * blocks * WORDS[dtype];
  if (!(words instanceof Int32Array && ArrayBuffer.isView(words)) || typedLength(words) !== expected) {
    throw new ValueError(
      `${op}: words is ${describe(words)}; expected an Int32Array of ${expected} for ${dtype} ${formatShape(sizes)}`,
    );
  }
  return { dtype, shape: sizes, words };
}

type Parts = Readonly<Record<string, readonly [TensorData | Uint32Array | Uint16Array | Int8Array, number]>>;

/** Each part has one entry per so many columns of every row. */
function sizesOf(op: string, shape: Shape, parts: Parts): { groups: number; blocks: number } {
  if (!packs(shape)) {
    throw new ShapeError(
      `${op}: shape is ${Array.isArray(shape) ? formatShape(shape) : describe(shape)}; expected [N, K] with N a multiple of ${PACKED_ROWS} and K of ${PACKED_COLUMNS}, at most ${MOST_COLUMNS}`,
    );
  }
  const [rows, columns] = shape;
  for (const [name, [part, per]] of Object.entries(parts)) {
    const expected = (rows * columns) / per;
    if (part.length !== expected) {
      throw new ShapeError(
        `${op}: ${name} has ${part.length} elements; expected ${expected} for ${formatShape(shape)}`,
      );
    }
  }
  return { groups: rows / PACKED_ROWS, blocks: columns / PACKED_COLUMNS };
}

function checkFiniteHalves(op: string, lists: Readonly<Record<string, Uint16Array>>): void {
  for (const [name, list] of Object.entries(lists)) {
    const bad = list.findIndex((bits) => (bits & 0x7c00) === 0x7c00);
    if (bad >= 0) {
      throw new ValueError(`${op}: ${name}[${bad}] is ${fromF16Bits(list[bad])}; expected finite numbers`);
    }
  }
}
