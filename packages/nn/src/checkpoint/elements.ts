import {
  bytesPerElement,
  type DType,
  DTypeError,
  fromBF16Bits,
  fromF16Bits,
  isPacked,
  type PackedDType,
  type TensorData,
  toBF16Bits,
  toF16Bits,
} from '@lazy-attention/core';

/** Names of safetensors for the types that tensors here can have. */
const NAMES: Readonly<Record<Exclude<DType, PackedDType>, string>> = {
  f32: 'F32',
  f64: 'F64',
  bf16: 'BF16',
  f16: 'F16',
  i32: 'I32',
};

/** @throws DTypeError for packed weights, which have no counterpart there */
export function safetensorsName(dtype: DType): string {
  if (isPacked(dtype))
    throw new DTypeError(`packed weights (${dtype}) cannot be written; load the model with f32 weights`);
  return NAMES[dtype];
}

/** Undefined for types of safetensors that have no counterpart here (I64, BOOL, F8_E4M3, ...). */
export function dtypeOfName(name: string): keyof typeof NAMES | undefined {
  return (Object.keys(NAMES) as (keyof typeof NAMES)[]).find((dtype) => NAMES[dtype] === name);
}

export const SUPPORTED_NAMES = Object.values(NAMES).join(', ');

/** Elements as little-endian bytes. bf16 and f16 come as Float32Array, as `Tensor.data` gives them; their rounding is exact then. */
export function encodeElements(data: TensorData, dtype: DType): Uint8Array {
  if (dtype !== 'bf16' && dtype !== 'f16') return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const toBits = dtype === 'bf16' ? toBF16Bits : toF16Bits;
  const bits = new Uint16Array(data.length);
  for (let i = 0; i < data.length; i++) bits[i] = toBits(data[i]);
  return new Uint8Array(bits.buffer);
}

/** The inverse. Copies, so that the bytes need no alignment and may be reused. */
export function decodeElements(bytes: Uint8Array, dtype: DType): TensorData {
  const { buffer } = new Uint8Array(bytes); // not bytes.slice(): that of a Node Buffer is a view
  switch (dtype) {
    case 'f32':
      return new Float32Array(buffer);
    case 'f64':
      return new Float64Array(buffer);
    case 'i32':
      return new Int32Array(buffer);
    case 'bf16':
      return widened(new Uint16Array(buffer), fromBF16Bits);
    case 'f16':
      return widened(new Uint16Array(buffer), fromF16Bits);
    default:
      throw new DTypeError(`no file holds packed weights (${dtype})`);
  }
}

function widened(bits: Uint16Array, fromBits: (bits: number) => number): Float32Array {
  const values = new Float32Array(bits.length);
  // Not Float32Array.from, whose iteration takes twenty times as long.
  for (let i = 0; i < bits.length; i++) values[i] = fromBits(bits[i]);
  return values;
}

export function byteLength(size: number, dtype: DType): number {
  return size * bytesPerElement(dtype);
}
