/**
 * What is not a number stays so (spec §Not a number). WGSL lets compilers assume that no NaN and no infinity occurs: max(x, 0)
 * may drop a NaN, x != x may be folded away, exp(-Infinity) need not be 0. So tests and choices read the bits, as
 * integers; sums and products carry NaN in every hardware.
 */

/** The lowest finite f32: where a search for a maximum begins, below every score but -Infinity. */
export const LOWEST = '-3.4028234663852886e38';

/** `relu(x)`: max(x, 0) that keeps NaN. Bits of -0 to -Infinity become 0. */
export const RELU = `
  fn relu(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    return bitcast<f32>(select(bits, 0u, bits - 0x80000000u <= 0x7f800000u));
  }`;

/** `exponential(x, top)`: exp(x - top), and exactly 0 for a masked score of -Infinity. */
export const EXPONENTIAL = `
  fn exponential(x: f32, top: f32) -> f32 {
    return select(exp(x - top), 0.0, bitcast<u32>(x) == 0xff800000u);
  }`;

/**
 * Bits to put into every result of a row without a softmax, else 0. `sum` of exp(s - maximum) is at least 1 up to rounding,
 * unless a score is NaN or +Infinity (then it is NaN) or all are -Infinity (then it is 0).
 */
export const poisonOfSum = (sum: string): string =>
  `select(0x7fc00000u, 0u, bitcast<u32>(${sum}) - 0x3f000000u < 0x40800000u)`;

/** The same from a value that is finite in every other row, say 1 / sum. */
export const poisonOf = (value: string): string =>
  `select(0u, 0x7fc00000u, (bitcast<u32>(${value}) & 0x7fffffffu) >= 0x7f800000u)`;

/** `value`, or NaN where `poison` is set. */
export const poisoned = (value: string, poison: string): string => `bitcast<f32>(bitcast<u32>(${value}) | ${poison})`;

/** Whether `value` is a number or an infinity. */
export const isNumber = (value: string): string => `((bitcast<u32>(${value}) & 0x7fffffffu) <= 0x7f800000u)`;

/**
 * Order of f32 as u32, so that a maximum is one of integers: NaN above all, zeros of either sign equal. `valueOf` takes back.
 */
export const RANK = `
  fn rank(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
    if (bits == 0x80000000u) { return 0x80000000u; }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
  }
  fn valueOf(rank: u32) -> f32 {
    return bitcast<f32>(select(~rank, rank & 0x7fffffffu, rank >= 0x80000000u));
  }`;
