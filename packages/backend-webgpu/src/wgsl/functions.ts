import type { BinaryFunction, UnaryFunction } from '@lazy-attention/core';

/*
 * The functions of the open primitives on vec4<f32>. WGSL promises little of its own ones (sin to 2^-11, exp to 2 |x| units in
 * the last place), so these are computed from sums and products: range reduction in parts that are exact, then a short
 * polynomial. Edges and NaN are set by their bits, see numbers.ts. Errors measured: docs/kernels/webgpu.md.
 */

const KEEP_NAN = `
  fn keepNaN(y: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    let isNaN = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(y) | select(vec4<u32>(), vec4<u32>(0x7fc00000u), isNaN));
  }
  fn setBits(y: vec4<f32>, bits: u32, places: vec4<bool>) -> vec4<f32> {
    return bitcast<vec4<f32>>(select(bitcast<vec4<u32>>(y), vec4<u32>(bits), places));
  }
  fn isZero(x: vec4<f32>) -> vec4<bool> { return (bitcast<vec4<u32>>(x) << vec4<u32>(1u)) == vec4<u32>(); }
  fn isInfinite(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) == vec4<u32>(0x7f800000u);
  }
  // Below zero, -Infinity included: neither -0 nor NaN.
  fn isNegative(x: vec4<f32>) -> vec4<bool> {
    return bitcast<vec4<u32>>(x) - vec4<u32>(0x80000001u) < vec4<u32>(0x7f800000u);
  }`;

/** x = k ln 2 + r; e^r by a polynomial, 2^k in two factors, since k may pass the exponents of f32. Not of NaN. */
const EXP = `
  fn powerOfTwo(k: vec4<i32>) -> vec4<f32> { return bitcast<vec4<f32>>((k + 127) << vec4<u32>(23u)); }
  fn exp4(x: vec4<f32>) -> vec4<f32> {
    let limited = clamp(x, vec4<f32>(-110.0), vec4<f32>(90.0));
    let k = round(limited * 1.4426950408889634);
    let r = (limited - k * 0.693359375) + k * 2.12194440e-4;
    var p = r * 1.9875691500e-4 + 1.3981999507e-3;
    p = p * r + 8.3334519073e-3;
    p = p * r + 4.1665795894e-2;
    p = p * r + 1.6666665459e-1;
    p = p * r + 5.0000001201e-1;
    let whole = vec4<i32>(k);
    let half = whole / 2;
    return (p * r * r + r + 1.0) * powerOfTwo(half) * powerOfTwo(whole - half);
  }`;

/** x = m 2^k with m from sqrt(1/2) to sqrt(2); log m from the series of (m - 1) / (m + 1). Not of NaN. */
const LOG = `
  fn log4(x: vec4<f32>) -> vec4<f32> {
    let given = bitcast<vec4<u32>>(x);
    let tiny = given < vec4<u32>(0x00800000u);
    let bits = select(given, bitcast<vec4<u32>>(vec4<f32>(given)), tiny) + vec4<u32>(0x3f800000u - 0x3f3504f3u);
    let k = vec4<f32>(vec4<i32>(bits >> vec4<u32>(23u)) - select(vec4<i32>(127), vec4<i32>(276), tiny));
    let f = bitcast<vec4<f32>>((bits & vec4<u32>(0x007fffffu)) + vec4<u32>(0x3f3504f3u)) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let series = z * (0.66666662693 + w * 0.28498786688) + w * (0.40000972152 + w * 0.24279078841);
    let square = 0.5 * f * f;
    var y = s * (square + series) + k * 9.0580006145e-6 - square + f + k * 0.69313812256;
    y = setBits(y, 0xff800000u, isZero(x));
    y = setBits(y, 0x7f800000u, given == vec4<u32>(0x7f800000u));
    return setBits(y, 0x7fc00000u, isNegative(x));
  }`;

/** |x| = j pi/4 + r with j even: sin or cos of r by polynomials, by the octant. Infinities give NaN. */
const ANGLES = `
  fn angle4(x: vec4<f32>, octants: u32) -> vec4<f32> {
    let size = min(abs(x), vec4<f32>(1.0e6));
    var j = vec4<u32>(size * 1.2732395447351628);
    j += j & vec4<u32>(1u);
    let y = vec4<f32>(j);
    let r = ((size - y * 0.78515625) - y * 2.4187564849853515625e-4) - y * 3.77489497744594108e-8;
    let z = r * r;
    let sine = ((z * -1.9515295891e-4 + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
    let cosine = ((z * 2.443315711809948e-5 - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
    let turned = j + octants;
    let value = select(sine, cosine, (turned & vec4<u32>(2u)) != vec4<u32>());
    let result = select(value, -value, (turned & vec4<u32>(4u)) != vec4<u32>());
    return setBits(result, 0x7fc00000u, isInfinite(x));
  }`;

const TANH = `
  fn tanh4(x: vec4<f32>) -> vec4<f32> {
    let size = abs(x);
    let z = x * x;
    var p = z * -5.70498872745e-3 + 2.06390887954e-2;
    p = p * z - 5.37397155531e-2;
    p = p * z + 1.33314422036e-1;
    p = p * z - 3.33332819422e-1;
    let large = 1.0 - 2.0 / (exp4(min(2.0 * size, vec4<f32>(40.0))) + 1.0);
    return select(select(large, -large, x < vec4<f32>()), p * z * x + x, size < vec4<f32>(0.625));
  }`;

/** The exponential is taken of a number that is never positive. */
const SIGMOID = `
  fn sigmoid4(x: vec4<f32>) -> vec4<f32> {
    let e = exp4(-abs(x));
    return select(e, vec4<f32>(1.0), x >= vec4<f32>()) / (1.0 + e);
  }`;

/** log(1 + e) from 1 + e as it was rounded, so that a small e keeps its digits. */
const SOFTPLUS = `
  fn softplus4(x: vec4<f32>) -> vec4<f32> {
    let e = exp4(-abs(x));
    let u = 1.0 + e;
    let rounded = u - 1.0;
    return max(x, vec4<f32>()) + select(e, log4(u) * (e / rounded), rounded > vec4<f32>());
  }`;

/** erfc of z >= 0 to a relative 1.2e-7: t e^(-z^2 + P(t)), t = 1 / (1 + z / 2). Its tail makes no differences. */
const GELU = `
  fn gelu4(x: vec4<f32>) -> vec4<f32> {
    let z = abs(x) * 0.70710678118654752;
    let t = 1.0 / (1.0 + 0.5 * z);
    var p = t * 0.17087277 - 0.82215223;
    p = p * t + 1.48851587;
    p = p * t - 1.13520398;
    p = p * t + 0.27886807;
    p = p * t - 0.18628806;
    p = p * t + 0.09678418;
    p = p * t + 0.37409196;
    p = p * t + 1.00002368;
    p = p * t - 1.26551223;
    // exp(-z^2) in two factors, so that the rounding of a large square does not count: z = h + l.
    let h = bitcast<vec4<f32>>(bitcast<vec4<u32>>(z) & vec4<u32>(0xfffff000u));
    let tail = 0.5 * t * exp4(p - (z - h) * (z + h)) * exp4(-h * h);
    return x * select(1.0 - tail, tail, x < vec4<f32>());
  }`;

/** |a|^b = e^(b log |a|); its sign and where it is none are those of IEEE. Not of NaN. */
const POWER = `
  fn pow4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    let size = abs(a);
    let l = log4(size);
    let product = b * l;
    var y = exp4(product) * (1.0 + select(vec4<f32>(), fma(b, l, -product), abs(product) < vec4<f32>(88.0)));
    y = select(y, vec4<f32>(1.0), (size == vec4<f32>(1.0)) | isZero(b));
    let whole = (floor(b) == b) | isInfinite(b);
    let odd = whole & (abs(b) < vec4<f32>(16777216.0)) & ((vec4<i32>(b) & vec4<i32>(1)) != vec4<i32>());
    let negative = bitcast<vec4<u32>>(a) >= vec4<u32>(0x80000000u);
    y = select(y, -y, negative & odd);
    return setBits(y, 0x7fc00000u, isNegative(a) & !isInfinite(a) & !whole);
  }`;

/** One function: its value from \`x\`, or from \`a\` and \`b\`, as vec4<f32>, and the declarations that it needs. */
export interface FunctionText {
  readonly value: string;
  readonly uses: readonly string[];
}

const plain = (value: string): FunctionText => ({ value, uses: [] });
const kept = (value: string, ...uses: string[]): FunctionText => ({
  value: `keepNaN(${value}, x)`,
  uses: [KEEP_NAN, ...uses],
});
const keptOfBoth = (value: string, ...uses: string[]): FunctionText => ({
  value: `keepNaN(keepNaN(${value}, a), b)`,
  uses: [KEEP_NAN, ...uses],
});
/** 1 where the condition holds and neither is NaN. */
const comparison = (condition: string): FunctionText => ({
  value: `select(vec4<f32>(), vec4<f32>(1.0), (${condition}) & isNumber(a) & isNumber(b))`,
  uses: [
    `fn isNumber(x: vec4<f32>) -> vec4<bool> {
      return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) <= vec4<u32>(0x7f800000u);
    }`,
  ],
});

/** y = fn(x), by name; core's UNARY_FUNCTIONS says what each is. */
export const UNARY: Readonly<Record<UnaryFunction, FunctionText>> = {
  neg: plain('-x'),
  exp: kept('exp4(x)', EXP),
  log: kept('log4(x)', LOG),
  sqrt: kept('setBits(sqrt(x), 0x7fc00000u, isNegative(x))'),
  rsqrt: kept('setBits(setBits(1.0 / sqrt(x), 0x7f800000u, isZero(x)), 0x7fc00000u, isNegative(x))'),
  abs: plain('abs(x)'),
  sign: kept('sign(x)'),
  sin: kept('select(-angle4(x, 0u), angle4(x, 0u), x >= vec4<f32>())', ANGLES),
  cos: kept('angle4(x, 2u)', ANGLES),
  tanh: kept('tanh4(x)', EXP, TANH),
  sigmoid: kept('sigmoid4(x)', EXP, SIGMOID),
  softplus: kept('softplus4(x)', EXP, LOG, SOFTPLUS),
  relu: kept('max(x, vec4<f32>())'),
  silu: kept('x * sigmoid4(x)', EXP, SIGMOID),
  gelu: kept('gelu4(x)', EXP, GELU),
  reciprocal: kept('1.0 / x'),
  square: plain('x * x'),
};

/** out = fn(a, b), by name; core's BINARY_FUNCTIONS says what each is. */
export const BINARY: Readonly<Record<BinaryFunction, FunctionText>> = {
  add: plain('a + b'),
  sub: plain('a - b'),
  mul: plain('a * b'),
  div: plain('a / b'),
  pow: keptOfBoth('pow4(a, b)', EXP, LOG, POWER),
  max: keptOfBoth('max(a, b)'),
  min: keptOfBoth('min(a, b)'),
  less: comparison('a < b'),
  lessEqual: comparison('a <= b'),
  equal: comparison('a == b'),
  keep: { value: 'select(b, vec4<f32>(), isZero(a))', uses: [KEEP_NAN] },
};

/** Declares `log4`, the logarithm of the primitives. */
export const LOGARITHM = `${KEEP_NAN}${LOG}`;
