import { fromBF16Bits, fromF16Bits, isPacked, PACKED_DTYPES, type PackedDType } from './dtype.ts';
import { DTypeError, ShapeError, ValueError } from './errors.ts';
import { describe, formatShape, type Shape, typedLength } from './shape.ts';

/** Rows that lie together, one per lane of the widest vectors. */
export const PACKED_ROWS = 16;
/** Columns that share a scale. */
export const PACKED_COLUMNS = 32;
/** A row's sums over blocks are kept on a thread's stack. */
const MOST_COLUMNS = 1 << 16;
/**
 * A matrix [N, K] in blocks of 32 columns, as files have them; scales and offsets are bits of f16, and every list is [N, K / so many].
 * - w4: a code c has 4 bits, eight in each word, the first in the lowest. A weight is d c + m.
 * - w8: a code has 8 bits. A weight is d c.
 * - w4k, w8k: scale and offset are multiplied by small numbers of their own, which is what a scale of many blocks with a part for each
 *   needs. A weight is d s c + m o, exact up to its last sum where s c has at most 13 bits.
 */
export type WeightBlocks = FourBits | EightBits | ScaledFourBits | ScaledEightBits;

/** w4, as `WeightBlocks` says. */
export interface FourBits {
  /** The type. */
  readonly dtype: 'w4';
  /** Eight codes a word, the first in the lowest bits. */
  readonly codes: Uint32Array;
  /** d, one per 32 columns. */
  readonly scales: Uint16Array;
  /** m, one per 32 columns. */
  readonly offsets: Uint16Array;
}

/** w8, as `WeightBlocks` says. */
export interface EightBits {
  /** The type. */
  readonly dtype: 'w8';
  /** One code a weight. */
  readonly codes: Int8Array;
  /** d, one per 32 columns. */
  readonly scales: Uint16Array;
}

/** w4k, as `WeightBlocks` says. */
export interface ScaledFourBits extends ScaledParts {
  /** The type. */
  readonly dtype: 'w4k';
  /** As of w4. */
  readonly codes: Uint32Array;
}

/** w8k, as `WeightBlocks` says. */
export interface ScaledEightBits extends ScaledParts {
  /** The type. */
  readonly dtype: 'w8k';
  /** As of w8. */
  readonly codes: Int8Array;
}

/** Of w4k, whose factors are one per 32 columns, and w8k, whose are one per 16. */
export interface ScaledParts {
  /** d, one per 32 columns. */
  readonly scales: Uint16Array;
  /** m, one per 32 columns. */
  readonly offsets: Uint16Array;
  /** s, what d is multiplied by. */
  readonly scaleFactors: Int8Array;
  /** o, what m is multiplied by. */
  readonly offsetFactors: Int8Array;
}

/** Names of the lists that `WeightBlocks` have. */
export type WeightPart = 'codes' | 'scales' | 'offsets' | 'scaleFactors' | 'offsetFactors';

/** A list of a packed type: columns that share an entry, and bytes of an entry. */
interface PartLayout {
  readonly name: WeightPart;
  readonly columns: number;
  readonly bytes: 1 | 2 | 4;
}

const part = (name: WeightPart, columns: number, bytes: 1 | 2 | 4): PartLayout => ({ name, columns, bytes });
const HALVES = [part('scales', 32, 2), part('offsets', 32, 2)];
const factors = (columns: number) => [part('scaleFactors', columns, 1), part('offsetFactors', columns, 1)];

/** In the order in which they lie in a block. */
const PARTS: Readonly<Record<PackedDType, readonly PartLayout[]>> = {
  w4: [...HALVES, part('codes', 8, 4)],
  w8: [part('scales', 32, 2), part('codes', 1, 1)],
  w4k: [...HALVES, ...factors(32), part('codes', 8, 4)],
  w8k: [...HALVES, ...factors(16), part('codes', 1, 1)],
  w16: [part('codes', 2, 4)],
};

/** Bytes of a block of 16 x 32. */
const blockBytes = (parts: readonly PartLayout[]) => parts.reduce((sum, part) => sum + partBytes(part), 0);
const partBytes = ({ columns, bytes }: PartLayout) => PACKED_ROWS * (PACKED_COLUMNS / columns) * bytes;

/** How many columns share an entry of each list of `dtype`, by the list's name. */
export function columnsPerEntry(dtype: PackedDType): ReadonlyMap<WeightPart, number> {
  return new Map(PARTS[dtype].map(({ name, columns }) => [name, columns]));
}

/**
 * A matrix [N, K] of weights in few bits, as `Backend.packed` takes it to a device; N is a multiple of 16, K of 32 and at most 65,536.
 * Its words lie as kernels read them: 16 rows together, and of those block after block of 32 columns. Of a block, list after list in
 * the order below, and of a list entry after entry, each for the 16 rows side by side.
 * - w4, 80 words a block: scales and offsets, f16; codes, a word of eight.
 * - w8, 136 words a block: scales, f16; codes, int8.
 * - w4k, 88 words a block: scales and offsets, f16; a factor of each, int8; codes, a word of eight.
 * - w8k, 160 words a block: scales and offsets, f16; two factors of each, int8; codes, int8.
 * - w16, 256 words a block: words of two columns, bf16 each, the first in the lower half.
 */
export interface PackedWeights {
  /** Which of the five. */
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
 * Packed weights of blocks in rows.
 * @throws DTypeError, ShapeError, ValueError for scales or offsets that are not finite
 */
export function packBlocks(shape: Shape, blocks: WeightBlocks): PackedWeights {
  if (typeof blocks !== 'object' || blocks === null) {
    throw new ValueError(`packBlocks: blocks is ${describe(blocks)}; expected an object as WeightBlocks says`);
  }
  const { dtype, scales } = blocks;
  if (!['w4', 'w8', 'w4k', 'w8k'].includes(dtype)) {
    throw new DTypeError(`packBlocks: dtype is ${describe(dtype)}; expected w4, w8, w4k or w8k`);
  }
  const packed = pack('packBlocks', dtype, shape, blocks);
  checkFiniteHalves('packBlocks', 'offsets' in blocks ? { scales, offsets: blocks.offsets } : { scales });
  return packed;
}

/** w16 of bf16 bits [N, K]. @throws ShapeError */
export function packBF16(shape: Shape, bits: Uint16Array): PackedWeights {
  if (packs(shape) && bits.length !== shape[0] * shape[1]) {
    throw new ShapeError(
      `packBF16: bits has ${bits.length} elements; expected ${shape[0] * shape[1]} for ${formatShape(shape)}`,
    );
  }
  // Two patterns of 16 bits are a word as they lie (little-endian), if the array begins where a word may. Not copied where it does.
  const own = bits.byteOffset % 4 === 0 ? bits : bits.slice();
  const codes = new Uint32Array(own.buffer, own.byteOffset, bits.length >>> 1);
  return pack('packBF16', 'w16', shape, { codes });
}

type Part = Uint32Array | Uint16Array | Int8Array;
type Parts = Readonly<Partial<Record<WeightPart, Part>>>;

function pack(op: string, dtype: PackedDType, shape: Shape, parts: Parts): PackedWeights {
  const { groups, blocks } = sizesOf(op, shape);
  const [rows, columns] = shape;
  for (const { name, columns: shared } of PARTS[dtype]) {
    const expected = (rows * columns) / shared;
    const length = parts[name]?.length;
    if (length !== expected) {
      throw new ShapeError(
        `${op}: ${name} has ${length ?? 'no'} elements; expected ${expected} for ${formatShape(shape)}`,
      );
    }
  }
  const words = new Int32Array((groups * blocks * blockBytes(PARTS[dtype])) / 4);
  for (const place of placesIn(dtype, words)) {
    const { view, name } = place;
    const from = parts[name] as Part;
    eachRun(place, groups, blocks, (at, to, count) => {
      for (let j = 0; j < count; j++) view[to + PACKED_ROWS * j] = from[at + j];
    });
  }
  return { dtype, shape, words };
}

/** Where the entries of a list are among the words: of the first block, and how far apart blocks are. */
interface Place {
  readonly name: WeightPart;
  /** The words as entries of the list's size. */
  readonly view: Part;
  readonly begin: number;
  readonly apart: number;
  /** Of a row in a block. */
  readonly count: number;
}

function placesIn(dtype: PackedDType, words: Int32Array): Place[] {
  let begin = 0;
  return PARTS[dtype].map((part) => {
    const { name, bytes, columns } = part;
    const place = {
      name,
      view: viewOf(bytes, words),
      begin: begin / bytes,
      apart: blockBytes(PARTS[dtype]) / bytes,
      count: PACKED_COLUMNS / columns,
    };
    begin += partBytes(part);
    return place;
  });
}

function viewOf(bytes: PartLayout['bytes'], { buffer, byteOffset, byteLength }: Int32Array): Part {
  if (bytes === 4) return new Uint32Array(buffer, byteOffset, byteLength / 4);
  return bytes === 2
    ? new Uint16Array(buffer, byteOffset, byteLength / 2)
    : new Int8Array(buffer, byteOffset, byteLength);
}

/** Calls back with where the entries of a row's block are in rows and, `PACKED_ROWS` from each other, among the words. */
function eachRun(
  { begin, apart, count }: Place,
  groups: number,
  blocks: number,
  work: (inRows: number, packed: number, count: number) => void,
): void {
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < PACKED_ROWS; row++) {
      for (let block = 0; block < blocks; block++) {
        const inRows = ((group * PACKED_ROWS + row) * blocks + block) * count;
        work(inRows, begin + (group * blocks + block) * apart + row, count);
      }
    }
  }
}

/** The weights as numbers [N, K], each rounded to f32 once. */
export function unpackWeights(packed: PackedWeights): Float32Array {
  const { dtype, shape, words } = checkPacked('unpackWeights', packed);
  const { groups, blocks } = sizesOf('unpackWeights', shape);
  const lists: Partial<Record<WeightPart, Part>> = {};
  for (const place of placesIn(dtype, words)) {
    const { view, name } = place;
    const list = new (view.constructor as new (length: number) => Part)(
      (shape[0] * shape[1] * place.count) / PACKED_COLUMNS,
    );
    eachRun(place, groups, blocks, (to, at, count) => {
      for (let j = 0; j < count; j++) list[to + j] = view[at + PACKED_ROWS * j];
    });
    lists[name] = list;
  }
  const weight = WEIGHT[dtype](lists as Readonly<Record<WeightPart, Part>>);
  return new Float32Array(shape[0] * shape[1]).map((_, i) => weight(i));
}

type Weight = (lists: Readonly<Record<WeightPart, Part>>) => (i: number) => number;

const fourBits = (codes: Part, i: number) => (codes[i >>> 3] >>> (4 * (i & 7))) & 15;

/** The i-th weight, in rows. */
const WEIGHT: Readonly<Record<PackedDType, Weight>> = {
  w4:
    ({ codes, scales, offsets }) =>
    (i) =>
      fromF16Bits(scales[i >>> 5]) * fourBits(codes, i) + fromF16Bits(offsets[i >>> 5]),
  w8:
    ({ codes, scales }) =>
    (i) =>
      fromF16Bits(scales[i >>> 5]) * codes[i],
  w4k:
    ({ codes, ...scaled }) =>
    (i) =>
      scaledWeight(scaled, i, i >>> 5, fourBits(codes, i)),
  w8k:
    ({ codes, ...scaled }) =>
    (i) =>
      scaledWeight(scaled, i, i >>> 4, codes[i]),
  w16:
    ({ codes }) =>
    (i) =>
      fromBF16Bits((codes[i >>> 1] >>> (16 * (i & 1))) & 0xffff),
};

function scaledWeight(lists: Omit<Record<WeightPart, Part>, 'codes'>, i: number, factor: number, code: number): number {
  const scale = fromF16Bits(lists.scales[i >>> 5]) * lists.scaleFactors[factor];
  return scale * code + fromF16Bits(lists.offsets[i >>> 5]) * lists.offsetFactors[factor];
}

/** @internal What `Backend.packed` is given, read once. @throws DTypeError, ShapeError, ValueError */
export function checkPacked(op: string, packed: PackedWeights): PackedWeights {
  if (typeof packed !== 'object' || packed === null) {
    throw new ValueError(`${op}: weights are ${describe(packed)}; expected what packBlocks or packBF16 returned`);
  }
  const { dtype, shape, words } = packed;
  if (!isPacked(dtype))
    throw new DTypeError(`${op}: dtype is ${describe(dtype)}; expected one of ${PACKED_DTYPES.join(', ')}`);
  const sizes = Array.isArray(shape) ? Array.from<number>(shape) : shape;
  const { groups, blocks } = sizesOf(op, sizes);
  const expected = (groups * blocks * blockBytes(PARTS[dtype])) / 4;
  if (!(words instanceof Int32Array && ArrayBuffer.isView(words)) || typedLength(words) !== expected) {
    throw new ValueError(
      `${op}: words is ${describe(words)}; expected an Int32Array of ${expected} for ${dtype} ${formatShape(sizes)}`,
    );
  }
  return { dtype, shape: sizes, words };
}

/** Groups of rows and blocks of columns. @throws ShapeError */
function sizesOf(op: string, shape: Shape): { groups: number; blocks: number } {
  if (!packs(shape)) {
    throw new ShapeError(
      `${op}: shape is ${Array.isArray(shape) ? formatShape(shape) : describe(shape)}; expected [N, K] with N a multiple of ${PACKED_ROWS} and K of ${PACKED_COLUMNS}, at most ${MOST_COLUMNS}`,
    );
  }
  return { groups: shape[0] / PACKED_ROWS, blocks: shape[1] / PACKED_COLUMNS };
}

function checkFiniteHalves(op: string, lists: Readonly<Record<string, Uint16Array>>): void {
  for (const [name, list] of Object.entries(lists)) {
    const bad = list.findIndex((bits) => (bits & 0x7c00) === 0x7c00);
    if (bad >= 0) {
      throw new ValueError(`${op}: ${name}[${bad}] is ${fromF16Bits(list[bad])}; expected finite numbers`);
    }
  }
}
