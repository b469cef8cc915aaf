/** A tensor as the header of a GGUF file lists it. */
export interface GgufTensor {
  readonly name: string;
  /** Sizes, the innermost first. */
  readonly sizes: readonly number[];
  /** Number of its quantisation. */
  readonly type: number;
  /** In bytes, from the begin of the elements. */
  readonly offset: number;
}

/** What stands before the elements of a GGUF file. */
export interface GgufHeader {
  /** Values by key; 64-bit integers are plain numbers. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tensors: readonly GgufTensor[];
  /** Where the elements begin, in bytes of the file. */
  readonly dataOffset: number;
}

/** More dimensions than any file has; arrays of arrays deeper than this are refused too. */
const MOST_DIMENSIONS = 8;
const DEFAULT_ALIGNMENT = 32;
const STRING = 8;
const ARRAY = 9;

type Reader = (view: DataView, at: number) => number | boolean;

/** Values of one size, by the number of their type: bytes, and how they are read. */
const SCALARS: ReadonlyMap<number, readonly [number, Reader]> = new Map<number, readonly [number, Reader]>([
  [0, [1, (view, at) => view.getUint8(at)]],
  [1, [1, (view, at) => view.getInt8(at)]],
  [2, [2, (view, at) => view.getUint16(at, true)]],
  [3, [2, (view, at) => view.getInt16(at, true)]],
  [4, [4, (view, at) => view.getUint32(at, true)]],
  [5, [4, (view, at) => view.getInt32(at, true)]],
  [6, [4, (view, at) => view.getFloat32(at, true)]],
  [7, [1, (view, at) => view.getUint8(at) !== 0]],
  [10, [8, (view, at) => Number(view.getBigUint64(at, true))]],
  [11, [8, (view, at) => Number(view.getBigInt64(at, true))]],
  [12, [8, (view, at) => view.getFloat64(at, true)]],
]);

/** Thrown inside `parseHeader` where the bytes end first. */
const SHORT = new Error('the header is longer than these bytes');

/**
 * The header of a little-endian GGUF file, version 2 or 3, from the first bytes of the file; null where they end within it.
 * @throws Error saying what is wrong with it
 */
export function parseHeader(bytes: Uint8Array): GgufHeader | null {
  try {
    return parse(bytes);
  } catch (error) {
    if (error === SHORT) return null;
    throw error;
  }
}

function parse(bytes: Uint8Array): GgufHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const utf8 = new TextDecoder();
  let at = 8; // behind the magic number and the version
  const take = (length: number): number => {
    if (length > bytes.length - at) throw SHORT;
    at += length;
    return at - length;
  };
  const uint32 = () => view.getUint32(take(4), true);
  const count = () => Number(view.getBigUint64(take(8), true));
  const text = () => {
    const length = count();
    const from = take(length);
    return utf8.decode(bytes.subarray(from, from + length));
  };
  const value = (type: number, depth: number): unknown => {
    if (type === STRING) return text();
    if (type === ARRAY) return array(depth + 1);
    const scalar = SCALARS.get(type);
    if (scalar === undefined) throw new Error(`a value has type ${type}, which GGUF does not have`);
    return scalar[1](view, take(scalar[0]));
  };
  const array = (depth: number): unknown[] => {
    if (depth > MOST_DIMENSIONS) throw new Error(`arrays lie in one another more than ${MOST_DIMENSIONS} deep`);
    const type = uint32();
    const length = count();
    const values: unknown[] = [];
    for (let i = 0; i < length; i++) values.push(value(type, depth));
    return values;
  };

  const [tensorCount, pairCount] = [count(), count()];
  const metadata = new Map<string, unknown>();
  for (let i = 0; i < pairCount; i++) metadata.set(text(), value(uint32(), 0));
  const tensors: GgufTensor[] = [];
  for (let i = 0; i < tensorCount; i++) {
    const name = text();
    const dimensions = uint32();
    if (dimensions > MOST_DIMENSIONS) throw new Error(`tensor '${name}' has ${dimensions} dimensions`);
    const sizes = Array.from({ length: dimensions }, count);
    tensors.push({ name, sizes, type: uint32(), offset: count() });
  }
  return { metadata: Object.fromEntries(metadata), tensors, dataOffset: aligned(at, metadata) };
}

function aligned(at: number, metadata: ReadonlyMap<string, unknown>): number {
  const alignment = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT;
  if (typeof alignment !== 'number' || !(alignment >= 1) || !Number.isInteger(alignment)) {
    throw new Error(`general.alignment is ${String(alignment)}; expected a positive integer`);
  }
  return Math.ceil(at / alignment) * alignment;
}
