import { type ElementType, type KernelSource, read, write } from './module.ts';

export const REDUCE_THREADS = 256;
export const ROW_THREADS = 64;

/**
 * `fn name(value, lane) -> f32`: the reduction of one value per invocation, known to all, through workgroup memory in a
 * fixed tree. Every invocation of the workgroup has to call it.
 */
export function workgroupReduction(name: string, threads: number, combine: (a: string, b: string) => string): string {
  return `
var<workgroup> ${name}Values: array<f32, ${threads}>;
fn ${name}(value: f32, lane: u32) -> f32 {
  ${name}Values[lane] = value;
  workgroupBarrier();
  for (var stride = ${threads / 2}u; stride > 0u; stride /= 2u) {
    if (lane < stride) { ${name}Values[lane] = ${combine(`${name}Values[lane]`, `${name}Values[lane + stride]`)}; }
    workgroupBarrier();
  }
  let result = ${name}Values[0];
  workgroupBarrier();
  return result;
}`;
}

export const sumReduction = (threads: number): string => workgroupReduction('total', threads, (a, b) => `${a} + ${b}`);
export const maxReduction = (threads: number): string =>
  workgroupReduction('largest', threads, (a, b) => `max(${a}, ${b})`);

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
    declarations: sumReduction(REDUCE_THREADS),
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
    declarations: sumReduction(REDUCE_THREADS),
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
    declarations: sumReduction(REDUCE_THREADS),
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
