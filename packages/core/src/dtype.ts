/**
 * Element types. `f32` and `i32` work on every backend; the others are capabilities that a backend declares.
 * `f64` exists so that the reference backend can be an oracle in full double precision.
 */
export type DType = 'f32' | 'f64' | 'bf16' | 'f16' | 'i32' | PackedDType;

/**
 * Weights in few bits, for inference: 4 or 8 with scales per block of 32 (w4, w8), or with scales that have factors (w4k, w8k), or bf16. Only `Backend.packed` makes tensors of them, and only
 * `matmul` (as b, transposed), `embedding` and the decoder take them, beside f32.
 */
export type PackedDType = 'w4' | 'w8' | 'w4k' | 'w8k' | 'w16';

/** Element types of numbers that are differentiated. */
export type FloatDType = Exclude<DType, 'i32' | PackedDType>;

/** What `Tensor.data()` resolves to: f32, bf16 and f16 arrive as Float32Array. */
export type TensorData = Float32Array | Float64Array | Int32Array;

/** All element types but the packed ones. */
export const DTYPES: readonly DType[] = ['f32', 'f64', 'bf16', 'f16', 'i32'];

/** The packed element types. */
export const PACKED_DTYPES: readonly PackedDType[] = ['w4', 'w8', 'w4k', 'w8k', 'w16'];

const BYTES: Record<DType, number> = {
  f32: 4,
  f64: 8,
  bf16: 2,
  f16: 2,
  i32: 4,
  w4: 5 / 8,
  w8: 17 / 16,
  w4k: 11 / 16,
  w8k: 5 / 4,
  w16: 2,
};

/** Bytes of one element; of packed weights their share, scales included. */
export function bytesPerElement(dtype: DType): number {
  return BYTES[dtype];
}

/** Whether weights of this type are packed. Not by `PACKED_DTYPES`: every op asks, and a search costs it a tenth of its time. */
export function isPacked(dtype: DType): dtype is PackedDType {
  return dtype === 'w4' || dtype === 'w8' || dtype === 'w4k' || dtype === 'w8k' || dtype === 'w16';
}

/** The type of what is computed with weights of `dtype`: f32 beside packed ones. */
export function computedDType(dtype: DType): Exclude<DType, PackedDType> {
  return isPacked(dtype) ? 'f32' : dtype;
}

/** The type in which bias, tau, statistics and losses are kept beside operands of `dtype`. */
export function statisticsDType(dtype: DType): 'f32' | 'f64' {
  return dtype === 'f64' ? 'f64' : 'f32';
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** Bit pattern of the bf16 nearest to `value` (round to nearest, ties to even). */
export function toBF16Bits(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The value of a bfloat16's bit pattern. */
export function fromBF16Bits(bits: number): number {
  u32[0] = bits << 16;
  return f32[0];
}

/** Bit pattern of the IEEE half nearest to `value` (round to nearest, ties to even). */
export function toF16Bits(value: number): number {
  f32[0] = value;
  const bits = u32[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 lines the half's last place up with the float's, and the FPU does the rounding.
    f32[0] = Math.abs(f32[0]) + 0.5;
    return sign | (u32[0] - 0x3f000000);
  }
  return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13);
}

/** The value of an IEEE half's bit pattern. */
export function fromF16Bits(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  if ((bits & 0x7c00) === 0x7c00) {
    u32[0] = sign | 0x7f800000 | ((bits & 0x3ff) << 13);
    return f32[0];
  }
  // Exponent and fraction in a float's places are 2^112 too small, subnormals too.
  u32[0] = sign | ((bits & 0x7fff) << 13);
  return f32[0] * 2 ** 112;
}

/** `value` as it survives being stored in `dtype`. */
export function roundTo(dtype: FloatDType, value: number): number {
  switch (dtype) {
    case 'f64':
      return value;
    case 'f32':
      return Math.fround(value);
    case 'bf16':
      return fromBF16Bits(toBF16Bits(value));
    case 'f16':
      return fromF16Bits(toF16Bits(value));
  }
}
