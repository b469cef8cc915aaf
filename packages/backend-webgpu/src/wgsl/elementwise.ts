import { type ElementType, type KernelSource, read, write } from './module.ts';

export type Scalar = 'f32' | 'f16';

export const vectorOf = (type: Scalar): ElementType => (type === 'f16' ? 'vec4<f16>' : 'vec4<f32>');

/** Invocations per workgroup of the kernels that treat elements one by one. */
export const ELEMENTWISE_THREADS = 64;

/** Index of this invocation's vec4; grids wider than a dimension allows wrap into y. */
const INDEX = `
let i = (group.y * groups.x + group.x) * ${ELEMENTWISE_THREADS}u + lane;
if (i >= params.vectors) { return; }`;

/**
 * Elements in groups of four; the last group may reach into the padding of the buffer. `compute` assigns to
 * `results[.]` from the inputs of the same names, as vec4<f32>.
 */
function pointwise(
  type: Scalar,
  inputs: readonly string[],
  results: readonly string[],
  compute: string,
  params: KernelSource['params'] = [],
): KernelSource {
  const vector = vectorOf(type);
  return {
    buffers: [
      ...inputs.map((name) => read(`${name}Data`, vector)),
      ...results.map((name) => write(`${name}Data`, vector)),
    ],
    params: [['vectors', 'u32'], ...params],
    workgroupSize: ELEMENTWISE_THREADS,
    body: `${INDEX}
${inputs.map((name) => `let ${name} = vec4<f32>(${name}Data[i]);`).join('\n')}
${compute}
${results.map((name) => `${name}Data[i] = ${vector}(${name});`).join('\n')}`,
  };
}

export const add = (type: Scalar): KernelSource => pointwise(type, ['a', 'b'], ['sum'], 'let sum = a + b;');
export const mul = (type: Scalar): KernelSource => pointwise(type, ['a', 'b'], ['product'], 'let product = a * b;');
export const scale = (type: Scalar): KernelSource =>
  pointwise(type, ['x'], ['y'], 'let y = params.factor * x;', [['factor', 'f32']]);

/** gate * sigmoid(gate) * up. The exponential is taken of a number that is never positive: no overflow. */
const SIGMOID = `
let e = exp(-abs(gate));
let sigmoid = select(e, vec4<f32>(1.0), gate >= vec4<f32>()) / (1.0 + e);`;
export const swiglu = (type: Scalar): KernelSource =>
  pointwise(type, ['gate', 'up'], ['y'], `${SIGMOID}\nlet y = gate * sigmoid * up;`);
export const swigluGrad = (type: Scalar): KernelSource =>
  pointwise(
    type,
    ['dy', 'gate', 'up'],
    ['dgate', 'dup'],
    `${SIGMOID}
let dgate = dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
let dup = dy * gate * sigmoid;`,
  );

export function cast(from: Scalar, to: Scalar): KernelSource {
  return {
    buffers: [read('x', vectorOf(from)), write('y', vectorOf(to))],
    params: [['vectors', 'u32']],
    workgroupSize: ELEMENTWISE_THREADS,
    body: `${INDEX}\ny[i] = ${vectorOf(to)}(x[i]);`,
  };
}

/** Every element = the parameter, given as bits, so that one text serves f32 and i32. */
export function fill(type: Scalar): KernelSource {
  const value = type === 'f16' ? 'vec4<f16>(f16(bitcast<f32>(params.bits)))' : 'vec4<u32>(params.bits)';
  return {
    buffers: [write('y', type === 'f16' ? 'vec4<f16>' : 'vec4<u32>')],
    params: [
      ['vectors', 'u32'],
      ['bits', 'u32'],
    ],
    workgroupSize: ELEMENTWISE_THREADS,
    body: `${INDEX}\ny[i] = ${value};`,
  };
}

/** Every element = the scalar in `source`. */
export function broadcast(type: Scalar): KernelSource {
  return {
    buffers: [read('source', 'f32'), write('y', vectorOf(type))],
    params: [['vectors', 'u32']],
    workgroupSize: ELEMENTWISE_THREADS,
    body: `${INDEX}\ny[i] = ${vectorOf(type)}(vec4<f32>(source[0]));`,
  };
}

/** Bits that are moved and never computed with, so NaNs and subnormals survive. */
export type Unit = 'u32' | 'vec4<u32>' | 'f16' | 'vec2<u32>';

/**
 * Moves rows of the [outer, length, inner] view (units of `Unit`): `slice` out of it, otherwise into it. Grid over
 * outer * count * inner.
 */
export function moveRows(unit: Unit, direction: 'slice' | 'insert'): KernelSource {
  const compact = 'o * params.count * params.inner + rest';
  const wide = '(o * params.viewLength + params.start) * params.inner + rest';
  return {
    buffers: [read('x', unit), write('y', unit)],
    params: [
      ['vectors', 'u32'],
      ['viewLength', 'u32'],
      ['inner', 'u32'],
      ['start', 'u32'],
      ['count', 'u32'],
    ],
    workgroupSize: ELEMENTWISE_THREADS,
    body: `${INDEX}
let o = i / (params.count * params.inner);
let rest = i % (params.count * params.inner);
${direction === 'slice' ? `y[${compact}] = x[${wide}];` : `y[${wide}] = x[${compact}];`}`,
  };
}

/** min(1, ratio) that keeps NaN: bits from 1 to +Infinity become 1. */
const CLIP = `let ratio = params.maxNorm / (sqrt(normSquared[0]) + 1e-6);
let g = grads[i] * select(ratio, 1.0, bitcast<u32>(ratio) - 0x3f800000u <= 0x40000000u);`;

/** One step of AdamW, see Kernels.adamw. With clip the gradient is scaled by min(1, maxNorm / (norm + 1e-6)). */
export function adamw(clip: boolean): KernelSource {
  return {
    buffers: [
      write('weights', 'vec4<f32>'),
      read('grads', 'vec4<f32>'),
      write('firsts', 'vec4<f32>'),
      write('seconds', 'vec4<f32>'),
      ...(clip ? [read('normSquared', 'f32')] : []),
    ],
    params: [
      ['vectors', 'u32'],
      ['beta1', 'f32'],
      ['beta2', 'f32'],
      ['oneMinusBeta1', 'f32'],
      ['oneMinusBeta2', 'f32'],
      ['decay', 'f32'],
      ['stepSize', 'f32'],
      ['inverseCorrection2', 'f32'],
      ['epsilon', 'f32'],
      ['maxNorm', 'f32'],
    ],
    workgroupSize: ELEMENTWISE_THREADS,
    body: `${INDEX}
${clip ? CLIP : 'let g = grads[i];'}
let m = params.beta1 * firsts[i] + params.oneMinusBeta1 * g;
let v = params.beta2 * seconds[i] + params.oneMinusBeta2 * g * g;
firsts[i] = m;
seconds[i] = v;
let weight = weights[i];
weights[i] = weight - params.decay * weight - params.stepSize * m / (sqrt(v * params.inverseCorrection2) + params.epsilon);`,
  };
}

/**
 * spec §RoPE. The cosine and sine of a position are put together from two tables, for its low 8 bits and for the
 * rest, both computed in double: angles are exact to f32 however large the position. Grid over pairs.
 */
export function rope(type: Scalar): KernelSource {
  return {
    buffers: [read('x', type), read('low', 'vec2<f32>'), read('high', 'vec2<f32>'), write('y', type)],
    params: [
      ['vectors', 'u32'],
      ['half', 'u32'],
      ['heads', 'u32'],
      ['length', 'u32'],
      ['offset', 'u32'],
      ['firstHigh', 'u32'],
      ['sign', 'f32'],
    ],
    workgroupSize: ELEMENTWISE_THREADS,
    body: `${INDEX}
let d = i % params.half;
let row = i / params.half;
let position = params.offset + (row / params.heads) % params.length;
let a = low[(position & 255u) * params.half + d];
let b = high[((position >> 8u) - params.firstHigh) * params.half + d];
let cosine = a.x * b.x - a.y * b.y;
let sine = params.sign * (a.y * b.x + a.x * b.y);
let at = row * 2u * params.half + d;
let first = f32(x[at]);
let second = f32(x[at + params.half]);
y[at] = ${type}(first * cosine - second * sine);
y[at + params.half] = ${type}(second * cosine + first * sine);`,
  };
}
