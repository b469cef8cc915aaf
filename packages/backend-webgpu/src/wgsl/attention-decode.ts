import { BESIDE, BIAS, isLogit, OPTIONAL_PARAMS, offsetOf, PER_HEAD, STARTS } from './attention-optional.ts';
import { kernel, read, type Scalar, write } from './kernel.ts';
import { EXPONENTIAL, LOWEST, poisoned, poisonOfSum, RELU } from './numbers.ts';

/** Keys per workgroup, and invocations. */
export const DECODE_KEYS = 64;
const THREADS = DECODE_KEYS;
/** Keys per workgroup of the second kernel, a multiple of DECODE_KEYS. */
export const DECODE_SPLIT = 256;

/** What decides the text of the decoding kernels. */
export type DecodeVariant = {
  /** Upper bound of the head size; the size itself is a parameter, so that few kernels serve all. */
  readonly headClass: HeadClass;
  readonly type: Scalar;
};

/** Head sizes that kernels are compiled for. */
export type HeadClass = 16 | 32 | 64 | 128 | 256;

/** The smallest class that holds the head size (at most 256). */
export function headClassOf(headDim: number): HeadClass {
  return ([16, 32, 64, 128] as const).find((size) => headDim <= size) ?? 256;
}

const DECODE_PARAMS = {
  keyLength: 'u32',
  keyCapacity: 'u32',
  heads: 'u32',
  kvHeads: 'u32',
  headDim: 'u32',
  ...OPTIONAL_PARAMS,
  scale: 'f32',
} as const;

/** A single query per sequence. Grid: x = parts of the keys, y = heads, z = batch. */
const LOCATE = `
  let vectors = params.headDim / 4u;
  let h = group.y;
  let b = group.z;
  let kvHead = h / (params.heads / params.kvHeads);
  var start = 0u;
  if (params.hasStarts != 0u) { start = u32(starts[b]); }
  let row = b * params.heads + h;
  let kBase = (b * params.keyCapacity * params.kvHeads + kvHead) * vectors;
  let kStride = params.kvHeads * vectors;`;

/**
 * Scores of one query against 64 keys per workgroup, and their maximum and sum of exponentials. With one query the
 * whole row of scores is small enough to keep (spec §Exact algorithms), so keys are read once.
 */
export const decodeScores = kernel({
  name: 'attention/decodeScores',
  params: DECODE_PARAMS,
  text: ({ headClass, type }: DecodeVariant) => ({
    buffers: {
      q: read(`vec4<${type}>`),
      k: read(`vec4<${type}>`),
      scores: write('f32'),
      parts: write('vec2<f32>'),
      ...BIAS,
      ...STARTS,
    },
    workgroupSize: THREADS,
    declarations: `
var<workgroup> query: array<vec4<f32>, ${headClass / 4}>;${EXPONENTIAL}`,
    reductions: ['total', 'largest'],
    body: `
      ${LOCATE}
      for (var d = lane; d < vectors; d += ${THREADS}u) { query[d] = vec4<f32>(q[row * vectors + d]) * params.scale; }
      workgroupBarrier();
      let j = group.x * ${DECODE_KEYS}u + lane;
      let inside = j < params.keyLength && j >= start;
      var score = ${LOWEST};
      if (inside) {
        var products = vec4<f32>();
        for (var d = 0u; d < vectors; d++) {
          products = fma(query[d], vec4<f32>(k[kBase + j * kStride + d]), products);
        }
        score = dot(products, vec4<f32>(1.0));
        let distance = params.keyLength - 1u - j;
        if (distance < params.window) { score += bias[h * params.window + distance]; }
      }
      if (j < params.keyLength) { scores[row * params.keyLength + j] = score; }
      let top = largest(score, lane);
      let sum = total(select(0.0, exponential(score, top), inside), lane);
      if (lane == 0u) { parts[row * groups.x + group.x] = vec2<f32>(top, sum); }`,
  }),
});

/**
 * Part of o = w . v over 256 keys per workgroup, after putting the row's maximum and sum together. Rows of v whose
 * weight is zero are not read.
 */
export const decodeOutput = kernel({
  name: 'attention/decodeOutput',
  params: DECODE_PARAMS,
  text: ({ headClass, type }: DecodeVariant) => {
    const vectors = headClass / 4;
    // Invocations = key groups x columns of vec4.
    let columns = 1;
    while (columns < vectors && columns < THREADS) columns *= 2;
    const keyGroups = THREADS / columns;
    return {
      buffers: {
        v: read(`vec4<${type}>`),
        scores: read('f32'),
        parts: read('vec2<f32>'),
        outputs: write('vec4<f32>'),
        ...PER_HEAD,
        ...STARTS,
      },
      workgroupSize: THREADS,
      declarations: `
var<workgroup> weights: array<f32, ${DECODE_SPLIT}>;
var<workgroup> sums: array<vec4<f32>, ${THREADS}>;${EXPONENTIAL}${RELU}${BESIDE}`,
      reductions: ['total', 'largest'],
      body: `
        ${LOCATE}
        let partCount = (params.keyLength + ${DECODE_KEYS - 1}u) / ${DECODE_KEYS}u;
        let beside = besideTop(h);
        var mine = ${LOWEST};
        if (${isLogit('beside')}) { mine = beside; }
        for (var c = lane; c < partCount; c += ${THREADS}u) { mine = max(mine, parts[row * partCount + c].x); }
        let top = largest(mine, lane);
        var part = 0.0;
        if (lane == 0u) { part = besideSum(h, top); }
        for (var c = lane; c < partCount; c += ${THREADS}u) {
          let one = parts[row * partCount + c];
          part += one.y * exp(one.x - top);
        }
        let sumOfRow = total(part, lane);
        let poison = ${poisonOfSum('sumOfRow')};
        let inverse = 1.0 / sumOfRow;
        ${offsetOf('f32(params.keyLength - start)')}
        let first = group.x * ${DECODE_SPLIT}u;
        let count = min(${DECODE_SPLIT}u, params.keyLength - first);
        for (var t = lane; t < count; t += ${THREADS}u) {
          var weight = 0.0;
          if (first + t >= start) {
            let p = exponential(scores[row * params.keyLength + first + t], top) * inverse;
            weight = ${poisoned('relu(p + offset)', 'poison')};
          }
          weights[t] = weight;
        }
        workgroupBarrier();
        let column = lane % ${columns}u;
        let keyGroup = lane / ${columns}u;
        var sum = vec4<f32>();
        if (column < vectors) {
          for (var t = keyGroup; t < count; t += ${keyGroups}u) {
            let weight = weights[t];
            if (bitcast<u32>(weight) != 0u) {
              sum = fma(vec4<f32>(weight), vec4<f32>(v[kBase + (first + t) * kStride + column]), sum);
            }
          }
        }
        sums[lane] = sum;
        workgroupBarrier();
        if (keyGroup == 0u && column < vectors) {
          for (var g = 1u; g < ${keyGroups}u; g++) { sum += sums[g * ${columns}u + column]; }
          outputs[(row * groups.x + group.x) * vectors + column] = sum;
        }`,
    };
  },
});
