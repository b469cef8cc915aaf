import { BIAS, OPTIONAL_PARAMS, PER_HEAD, STARTS } from './attention-optional.ts';
import { type ElementType, kernel, read, type Scalar, write } from './kernel.ts';
import { EXPONENTIAL, poisoned, RELU } from './numbers.ts';
import { softmaxOfRow } from './softmax.ts';
import { range } from './text.ts';

/**
 * Decoding with few dispatches: five for a layer and two for a token (spec §Decoding). What passes between them lies in one buffer of
 * f32, `state`, in parts that begin at the parameters `...At`: x [B, C], q and the attention's output [B, H, D], the MLP's inner
 * [B, I], logits [B, V], scores [B, H, S]. Products are of a matrix and a vector: a workgroup has four rows of the matrix and sums
 * them together, and the norm before a product is summed beside it, since its factor can follow. Grid: y or z = rows of the batch.
 * A matrix is read once per row of the batch; weights are read as vec4 where widths allow that (`wide`).
 */
export type DecoderVariant = { readonly type: Scalar; readonly wide: boolean };

const weightOf = ({ type, wide }: DecoderVariant): ElementType => (wide ? `vec4<${type}>` : type);

/** Number of loads of a line of `length` elements. */
const loads = ({ wide }: DecoderVariant, length: string): string => (wide ? `${length} / 4u` : length);

/** Load `j` of the vector that begins at element `at` of `state`. */
const stateAt = ({ wide }: DecoderVariant, at: string): string =>
  wide ? `vec4<f32>(${range(4).map((e) => `state[${at} + 4u * j + ${e}u]`)})` : `state[${at} + j]`;

const dot = ({ wide }: DecoderVariant, a: string, b: string): string => (wide ? `dot(${a}, ${b})` : `${a} * ${b}`);

/** `sums` += four rows of `matrix` times the vector `value`, which may use the load's index `j`. */
function addRows(
  variant: DecoderVariant,
  length: string,
  value: string,
  rows: readonly [matrix: string, row: string][],
) {
  const vector = variant.wide ? 'vec4<f32>' : 'f32';
  const products = rows.map(([matrix, row]) => dot(variant, `${vector}(${matrix}[(${row}) * lines + j])`, 'value'));
  return `{
    let lines = ${loads(variant, length)};
    for (var j = lane; j < lines; j += rowThreads) {
      let value = ${value};
      sums += vec4<f32>(${products.join(', ')});
    }
  }`;
}

/** The squares of x, whose sum gives the norm's factor: y = factor * W (x * weight). */
const addSquares = (variant: DecoderVariant): string => `
  var squares = 0.0;
  for (var j = lane; j < ${loads(variant, 'params.width')}; j += rowThreads) {
    let value = ${stateAt(variant, 'xAt')};
    squares += ${dot(variant, 'value', 'value')};
  }
  let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);`;

const normed = (variant: DecoderVariant): string =>
  `${stateAt(variant, 'xAt')} * ${variant.wide ? 'vec4<f32>' : 'f32'}(norm[j])`;

/** Rows d, d + 1, d + D/2 and d + D/2 + 1 of a head: two pairs that RoPE turns. */
const PAIRS = ['first', 'first + 1u', 'first + half', 'first + half + 1u'] as const;

/**
 * q, k and v of one token per row: norm, products, RoPE (spec §RoPE, by the angles of the step); q goes to `state`, k and v into the
 * caches at `position`. Grid: x = quarters of heads (q's, k's, then v's), y = rows.
 */
export const decoderProject = kernel({
  name: 'decoder/project',
  params: {
    width: 'u32',
    heads: 'u32',
    kvHeads: 'u32',
    headDim: 'u32',
    capacity: 'u32',
    position: 'u32',
    rotates: 'u32',
    anglesAt: 'u32',
    qAt: 'u32',
    epsilon: 'f32',
  },
  text: (variant: DecoderVariant) => {
    const weight = read(weightOf(variant));
    const { type } = variant;
    const rows = (matrix: string) =>
      addRows(
        variant,
        'params.width',
        normed(variant),
        PAIRS.map((row): [string, string] => [matrix, row]),
      );
    return {
      buffers: {
        state: write('f32'),
        norm: weight,
        q: weight,
        k: weight,
        v: weight,
        keys: write(type),
        values: write(type),
        angles: read('vec2<f32>'),
      },
      workgroupSize: 'row',
      reductions: ['total', 'total4'],
      body: `
        let b = group.y;
        let xAt = b * params.width;
        let half = params.headDim / 2u;
        let quarters = params.headDim / 4u;
        let head = group.x / quarters;
        let d = group.x % quarters * 2u;
        let isQuery = head < params.heads;
        let isKey = !isQuery && head < params.heads + params.kvHeads;
        let h = select(select(head - params.heads - params.kvHeads, head - params.heads, isKey), head, isQuery);
        let first = h * params.headDim + d;
        ${addSquares(variant)}
        var sums = vec4<f32>();
        if (isQuery) ${rows('q')}
        if (isKey) ${rows('k')}
        if (!isQuery && !isKey) ${rows('v')}
        var result = total4(sums, lane) * factor;
        if (params.rotates != 0u && (isQuery || isKey)) {
          let one = angles[params.anglesAt + d];
          let two = angles[params.anglesAt + d + 1u];
          let cosine = vec2<f32>(one.x, two.x);
          let sine = vec2<f32>(one.y, two.y);
          let turned = result.xy * cosine - result.zw * sine;
          result = vec4<f32>(turned, result.zw * cosine + result.xy * sine);
        }
        if (lane != 0u) { return; }
        let row = ((b * params.capacity + params.position) * params.kvHeads) * params.headDim;
        let places = vec4<u32>(${PAIRS.join(', ')});
        for (var e = 0u; e < 4u; e++) {
          if (isQuery) { state[params.qAt + b * params.heads * params.headDim + places[e]] = result[e]; }
          if (isKey) { keys[row + places[e]] = ${type}(result[e]); }
          if (!isQuery && !isKey) { values[row + places[e]] = ${type}(result[e]); }
        }`,
    };
  },
});

/**
 * Attention of one query per row over the cache (spec §Forward): scores, weights and output of a head by one workgroup, the row of
 * scores in `state`. Grid: x = heads, y = rows.
 */
export const decoderAttention = kernel({
  name: 'decoder/attention',
  params: {
    heads: 'u32',
    kvHeads: 'u32',
    headDim: 'u32',
    capacity: 'u32',
    keyLength: 'u32',
    ...OPTIONAL_PARAMS,
    // Of the step, in starts [steps, B].
    startsAt: 'u32',
    qAt: 'u32',
    outAt: 'u32',
    scoresAt: 'u32',
    scale: 'f32',
  },
  text: ({ type }: { readonly type: Scalar }) => ({
    buffers: {
      state: write('f32'),
      keys: read(`vec4<${type}>`),
      values: read(`vec4<${type}>`),
      ...BIAS,
      ...PER_HEAD,
      ...STARTS,
    },
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    declarations: `
      var<workgroup> query: array<vec4<f32>, 64>;
      var<workgroup> sums: array<vec4<f32>, 64>;
      ${EXPONENTIAL}
      ${RELU}
      // s = scale * q . k + bias, kept for the weight.
      fn scoreOf(j: u32, h: u32, line: u32, scores: u32) -> f32 {
        var products = vec4<f32>();
        for (var d = 0u; d < params.headDim / 4u; d++) {
          products = fma(query[d], vec4<f32>(keys[line + d]), products);
        }
        var score = dot(products, vec4<f32>(1.0));
        let distance = params.keyLength - 1u - j;
        if (distance < params.window) { score += bias[h * params.window + distance]; }
        state[scores + j] = score;
        return score;
      }`,
    body: `
      let h = group.x;
      let b = group.y;
      let vectors = params.headDim / 4u;
      let row = b * params.heads + h;
      let scores = params.scoresAt + row * params.keyLength;
      let stride = params.kvHeads * vectors;
      let base = (b * params.capacity * params.kvHeads + h / (params.heads / params.kvHeads)) * vectors;
      var start = 0u;
      if (params.hasStarts != 0u) { start = u32(starts[params.startsAt + b]); }
      for (var d = lane; d < vectors; d += rowThreads) {
        let at = params.qAt + row * params.headDim + 4u * d;
        query[d] = params.scale * vec4<f32>(state[at], state[at + 1u], state[at + 2u], state[at + 3u]);
      }
      workgroupBarrier();
      ${softmaxOfRow('scoreOf(j, h, base + j * stride, scores)', 'start', 'params.keyLength')}
      let inverse = 1.0 / sum;
      var offset = 0.0;
      if (params.hasTau != 0u) { offset = tau[h] / f32(params.keyLength - start); }
      for (var j = start + lane; j < params.keyLength; j += rowThreads) {
        state[scores + j] = ${poisoned('relu(exponential(state[scores + j], top) * inverse + offset)', 'poison')};
      }
      storageBarrier();
      // Invocations = groups of keys x columns of vec4; with fewer invocations than columns, several columns each.
      let columns = min(vectors, rowThreads);
      let keyGroups = rowThreads / columns;
      let keyGroup = lane / columns;
      if (keyGroup < keyGroups) {
        for (var column = lane % columns; column < vectors; column += columns) {
          var output = vec4<f32>();
          for (var j = start + keyGroup; j < params.keyLength; j += keyGroups) {
            let weight = state[scores + j];
            if (bitcast<u32>(weight) != 0u) {
              output = fma(vec4<f32>(weight), vec4<f32>(values[base + j * stride + column]), output);
            }
          }
          sums[keyGroup * vectors + column] = output;
        }
      }
      workgroupBarrier();
      for (var column = lane; column < vectors; column += rowThreads) {
        var output = sums[column];
        for (var g = 1u; g < keyGroups; g++) { output += sums[g * vectors + column]; }
        let at = params.outAt + row * params.headDim + 4u * column;
        for (var e = 0u; e < 4u; e++) { state[at + e] = output[e]; }
      }`,
  }),
});

/** Four rows of a result from `group` on; rows past the last repeat it and are not kept. */
const fourRows = (last: string): string => `
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= ${last}) { return; }
  let rows = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(${last} - 1u));`;

const rowsOf = (matrix: string): [string, string][] => range(4).map((e) => [matrix, `rows[${e}]`]);

/** x += W . y for a part y of the state. Grid: x and y = fours of W's rows, z = rows. */
export const decoderAdd = kernel({
  name: 'decoder/add',
  params: { width: 'u32', length: 'u32', inputAt: 'u32' },
  text: (variant: DecoderVariant) => ({
    buffers: { state: write('f32'), weight: read(weightOf(variant)) },
    workgroupSize: 'row',
    reductions: ['total4'],
    body: `
      let b = group.z;
      ${fourRows('params.width')}
      let inputAt = params.inputAt + b * params.length;
      var sums = vec4<f32>();
      ${addRows(variant, 'params.length', stateAt(variant, 'inputAt'), rowsOf('weight'))}
      let result = total4(sums, lane);
      if (lane < 4u && first + lane < params.width) { state[b * params.width + first + lane] += result[lane]; }`,
  }),
});

/** silu(gate) * up after the norm. Grid: x = pairs of the inner width, y = rows. */
export const decoderGate = kernel({
  name: 'decoder/gate',
  params: { width: 'u32', inner: 'u32', innerAt: 'u32', epsilon: 'f32' },
  text: (variant: DecoderVariant) => {
    const weight = read(weightOf(variant));
    const rows: [string, string][] = [
      ['gate', 'first'],
      ['gate', 'second'],
      ['up', 'first'],
      ['up', 'second'],
    ];
    return {
      buffers: { state: write('f32'), norm: weight, gate: weight, up: weight },
      workgroupSize: 'row',
      reductions: ['total', 'total4'],
      body: `
        let b = group.y;
        let xAt = b * params.width;
        let first = group.x * 2u;
        let second = min(first + 1u, params.inner - 1u);
        ${addSquares(variant)}
        var sums = vec4<f32>();
        ${addRows(variant, 'params.width', normed(variant), rows)}
        let result = total4(sums, lane) * factor;
        let e = exp(-abs(result.xy));
        let sigmoid = select(e, vec2<f32>(1.0), result.xy >= vec2<f32>()) / (1.0 + e);
        let inner = result.xy * sigmoid * result.zw;
        if (lane < 2u && first + lane < params.inner) {
          state[params.innerAt + b * params.inner + first + lane] = inner[lane];
        }`,
    };
  },
});

/** Logits after the last norm. Grid: x and y = fours of the vocabulary, z = rows. */
export const decoderLogits = kernel({
  name: 'decoder/logits',
  params: { width: 'u32', vocabulary: 'u32', logitsAt: 'u32', epsilon: 'f32' },
  text: (variant: DecoderVariant) => {
    const weight = read(weightOf(variant));
    return {
      buffers: { state: write('f32'), norm: weight, head: weight },
      workgroupSize: 'row',
      reductions: ['total', 'total4'],
      body: `
        let b = group.z;
        let xAt = b * params.width;
        ${fourRows('params.vocabulary')}
        ${addSquares(variant)}
        var sums = vec4<f32>();
        ${addRows(variant, 'params.width', normed(variant), rowsOf('head'))}
        let result = total4(sums, lane) * factor;
        if (lane < 4u && first + lane < params.vocabulary) {
          state[params.logitsAt + b * params.vocabulary + first + lane] = result[lane];
        }`,
    };
  },
});
