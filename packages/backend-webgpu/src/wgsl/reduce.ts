import { type ElementType, type KernelSource, read, write } from './module.ts';
import { LOWEST, poisonOfSum } from './numbers.ts';

export const REDUCE_THREADS = 256;
export const ROW_THREADS = 64;

/**
 * Sum of x or x^2 over an even share of the elements per workgroup, into partial[slot + workgroup]. Grid: x =
 * workgroups.
 */
export function partialSum(type: 'f32' | 'f16', squares: boolean): KernelSource {
  const vector: ElementType = type === 'f16' ? 'vec4<f16>' : 'vec4<f32>';
  return {
    buffers: [read('x', vector), write('partial', 'f32')],
    params: [
      ['elements', 'u32'],
      ['slot', 'u32'],
    ],
    workgroupSize: REDUCE_THREADS,
    reductions: ['total'],
    body: `
var sum = vec4<f32>();
let vectors = (params.elements + 3u) / 4u;
for (var i = group.x * ${REDUCE_THREADS}u + lane; i < vectors; i += groups.x * ${REDUCE_THREADS}u) {
let index = 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
let value = select(vec4<f32>(), vec4<f32>(x[i]), index < vec4<u32>(params.elements));
sum += ${squares ? 'value * value' : 'value'};
}
let result = total(dot(sum, vec4<f32>(1.0)), lane);
if (lane == 0u) { partial[params.slot + group.x] = result; }`,
  };
}

/** result[0] = factor * sum of partial[0..count). One workgroup. */
export function finalSum(): KernelSource {
  return {
    buffers: [read('partial', 'f32'), write('result', 'f32')],
    params: [
      ['count', 'u32'],
      ['factor', 'f32'],
    ],
    workgroupSize: REDUCE_THREADS,
    reductions: ['total'],
    body: `
var sum = 0.0;
for (var i = lane; i < params.count; i += ${REDUCE_THREADS}u) { sum += partial[i]; }
let all = total(sum, lane);
if (lane == 0u) { result[0] = params.factor * all; }`,
  };
}

/** result[h] = sum over b and r of terms[b, h, r]. One workgroup per h. */
export function headSum(): KernelSource {
  return {
    buffers: [read('terms', 'f32'), write('result', 'f32')],
    params: [
      ['batch', 'u32'],
      ['heads', 'u32'],
      ['length', 'u32'],
    ],
    workgroupSize: REDUCE_THREADS,
    reductions: ['total'],
    body: `
var sum = 0.0;
for (var b = 0u; b < params.batch; b++) {
for (var r = lane; r < params.length; r += ${REDUCE_THREADS}u) {
sum += terms[(b * params.heads + group.x) * params.length + r];
}
}
let all = total(sum, lane);
if (lane == 0u) { result[group.x] = all; }`,
  };
}

/**
 * out[z, i] = sum over s of partial[z, s, i] (f32), in order; with `accumulate`, out[z, i] is added. Grid over the
 * elements of out.
 */
export function splitSum(type: 'f32' | 'f16'): KernelSource {
  return {
    buffers: [read('partial', 'f32'), write('result', type)],
    params: [
      ['elements', 'u32'],
      ['size', 'u32'],
      ['splits', 'u32'],
      ['accumulate', 'u32'],
    ],
    workgroupSize: ROW_THREADS,
    body: `
let id = (group.y * groups.x + group.x) * ${ROW_THREADS}u + lane;
if (id >= params.elements) { return; }
let z = id / params.size;
let i = id % params.size;
var sum = 0.0;
if (params.accumulate != 0u) { sum = f32(result[id]); }
for (var s = 0u; s < params.splits; s++) { sum += partial[(z * params.splits + s) * params.size + i]; }
result[id] = ${type}(sum);`,
  };
}

/**
 * One pass over a row for its maximum and sum of exponentials: `top` and `sum` (of exp(value - top)). One exponential per
 * value, of the distance to the maximum so far. `poison` is set where the row has no softmax. For kernels by row with both
 * reductions.
 */
export const softmaxOfRow = (value: string, first: string, end: string): string => `
var mine = ${LOWEST};
var part = 0.0;
for (var j = ${first} + lane; j < ${end}; j += rowThreads) {
let value = ${value};
let factor = exp(-abs(value - mine));
part = select(part + factor, part * factor + 1.0, value > mine);
mine = max(mine, value);
}
let top = largest(mine, lane);
let sum = total(part * exp(mine - top), lane);
let poison = ${poisonOfSum('sum')};`;
