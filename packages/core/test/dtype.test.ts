import { describe, expect, it } from 'vitest';
import { fromBF16Bits, fromF16Bits, roundTo, toBF16Bits, toF16Bits } from '../src/index.ts';

describe('half precision', () => {
  it('brings every f16 bit pattern back', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = fromF16Bits(bits);
      if (Number.isNaN(value)) expect(Number.isNaN(fromF16Bits(toF16Bits(value)))).toBe(true);
      else expect(toF16Bits(value)).toBe(bits);
    }
  });

  it('brings every bf16 bit pattern back', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = fromBF16Bits(bits);
      if (Number.isNaN(value)) expect(Number.isNaN(fromBF16Bits(toBF16Bits(value)))).toBe(true);
      else expect(toBF16Bits(value)).toBe(bits);
    }
  });

  it('rounds to nearest, ties to even, and overflows to infinity', () => {
    expect(roundTo('f16', 1 + 2 ** -11)).toBe(1);
    expect(roundTo('f16', 1 + 3 * 2 ** -11)).toBe(1 + 2 ** -9);
    expect(roundTo('f16', 65519)).toBe(65504);
    expect(roundTo('f16', 65520)).toBe(Number.POSITIVE_INFINITY);
    expect(roundTo('f16', -(2 ** -25))).toBe(-0);
    expect(roundTo('f16', 1.5 * 2 ** -24)).toBe(2 ** -23);
    expect(roundTo('bf16', 1 + 2 ** -8)).toBe(1);
    expect(roundTo('bf16', 1 + 3 * 2 ** -8)).toBe(1 + 2 ** -6);
    expect(roundTo('bf16', 3.4e38)).toBe(Number.POSITIVE_INFINITY);
    expect(roundTo('f32', 0.1)).toBe(Math.fround(0.1));
    expect(roundTo('f64', 0.1)).toBe(0.1);
  });
});
