import { BESIDE, BIAS, OPTIONAL_PARAMS, offsetOf, PER_HEAD, STARTS } from './attention-optional.ts';
import { type ElementType, kernel, read, type Scalar, write } from './kernel.ts';
import { EXPONENTIAL, poisoned, RELU } from './numbers.ts';
import { softmaxOfRow } from './softmax.ts';
import { range, unroll } from './text.ts';

/**
 * Decoding with few dispatches: five for a layer and two for a token (spec §Decoding). What passes between them lies in one buffer of
 * f32, `state`, in parts that begin at the parameters `...At`: x [B, C], q and the attention's output [B, H, D], the MLP's inner
 * [B, I], logits [B, V], scores [B, H, S]. Products are of a matrix and a few vectors: a workgroup has four rows of the matrix and
 * `batchRows` rows of the batch, so that weights are read once for those, and sums the products together. The norm before a product
 * is summed beside it, since its factor can follow. Weights are read as vec4 where widths allow that (`wide`).
 */
export type DecoderVariant = {
  readonly type: Scalar;
  readonly wide: boolean;
  readonly batchRows: BatchRows;
};

/** Rows of the batch that a workgroup takes. */
export type BatchRows = 1 | 4;

const weightOf = ({ type, wide }: DecoderVariant): ElementType => (wide ? `vec4<${type}>` : type);
const vectorOf = ({ wide }: DecoderVariant): string => (wide ? 'vec4<f32>' : 'f32');

/** Number of loads of a line of `length` elements. */
const loads = ({ wide }: DecoderVariant, length: string): string => (wide ? `${length} / 4u` : length);

/** Load `j` of the vector that begins at element `at` of `state`. */
const stateAt = ({ wide }: DecoderVariant, at: string): string =>
  wide ? `vec4<f32>(${range(4).map((e) => `state[${at} + 4u * j + ${e}u]`)})` : `state[${at} + j]`;

const dot = ({ wide }: DecoderVariant, a: string, b: string): string => (wide ? `dot(${a}, ${b})` : `${a} * ${b}`);

/** Code for every row r of the batch that the workgroup has. */
const eachRow = ({ batchRows }: DecoderVariant, code: (r: number) => string): string => unroll(batchRows, code);

/** Rows `b0`, `b1`, ... of the batch, from the group on; rows past the last repeat it and are not kept. */
const batchOf = (variant: DecoderVariant, group: string): string =>
  eachRow(variant, (r) => `let b${r} = min(${group} * ${variant.batchRows}u + ${r}u, params.batch - 1u);`);

/** Whether row r is one of the batch. */
const isKept = (variant: DecoderVariant, group: string, r: number): string =>
  `${group} * ${variant.batchRows}u + ${r}u < params.batch`;

/** `sums<r>` += four rows of matrices times the vector `value(r)`, which may use the load's index `j`. */
function addRows(
  variant: DecoderVariant,
  length: string,
  value: (r: number) => string,
  rows: readonly (readonly [matrix: string, row: string])[],
  norm?: string,
): string {
  const vector = vectorOf(variant);
  const product = (r: number): string => `vec4<f32>(${rows.map((_, e) => dot(variant, `weight${e}`, `value${r}`))})`;
  return `{
    let lines = ${loads(variant, length)};
    for (var j = lane; j < lines; j += rowThreads) {
      ${norm === undefined ? '' : `let gain = ${vector}(${norm}[j]);`}
      ${rows.map(([matrix, row], e) => `let weight${e} = ${vector}(${matrix}[(${row}) * lines + j]);`).join('\n')}
      ${eachRow(
        variant,
        (r) => `let value${r} = ${value(r)}${norm === undefined ? '' : ' * gain'};
        sums${r} += ${product(r)};`,
      )}
    }
  }`;
}

/** Declares `sums<r>`, and adds the products of four rows with x after the norm. */
const declareSums = (variant: DecoderVariant): string => eachRow(variant, (r) => `var sums${r} = vec4<f32>();`);
const addNormed = (variant: DecoderVariant, rows: readonly (readonly [matrix: string, row: string])[]): string =>
  addRows(variant, 'params.width', (r) => stateAt(variant, `b${r} * params.width`), rows, 'norm');

/** The norm's factor of each row: y = factor * W (x * gain). */
const declareFactors = (variant: DecoderVariant): string =>
  eachRow(
    variant,
    (r) => `
    var squares${r} = 0.0;
    for (var j = lane; j < ${loads(variant, 'params.width')}; j += rowThreads) {
      let value = ${stateAt(variant, `b${r} * params.width`)};
      squares${r} += ${dot(variant, 'value', 'value')};
    }
    let factor${r} = 1.0 / sqrt(total(squares${r}, lane) / f32(params.width) + params.epsilon);`,
  );

/** Rows d, d + 1, d + D/2 and d + D/2 + 1 of a head: two pairs that RoPE turns. */
const PAIRS = ['first', 'first + 1u', 'first + half', 'first + half + 1u'] as const;

/**
 * q, k and v of one token per row: norm, products, RoPE (spec §RoPE, by the angles of the step); q goes to `state`, k and v into the
 * caches at `position`. Grid: x = quarters of heads (q's, k's, then v's), y = groups of rows.
 */
export const decoderProject = kernel({
  name: 'decoder/project',
  params: {
    batch: 'u32',
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
    const rowsOfHead = (matrix: string): string =>
      addNormed(
        variant,
        PAIRS.map((row) => [matrix, row] as const),
      );
    const keep = (r: number): string => `{
      let result = rotated(total4(sums${r}, lane) * factor${r}, d, isQuery || isKey);
      if (lane == 0u && ${isKept(variant, 'group.y', r)}) {
        let row = (b${r} * params.capacity + params.position) * params.kvHeads * params.headDim;
        let queries = params.qAt + b${r} * params.heads * params.headDim;
        for (var e = 0u; e < 4u; e++) {
          if (isQuery) { state[queries + places[e]] = result[e]; }
          if (isKey) { keys[row + places[e]] = ${type}(result[e]); }
          if (!isQuery && !isKey) { values[row + places[e]] = ${type}(result[e]); }
        }
      }
    }`;
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
      declarations: `
        fn rotated(pairs: vec4<f32>, d: u32, turns: bool) -> vec4<f32> {
          if (params.rotates == 0u || !turns) { return pairs; }
          let one = angles[params.anglesAt + d];
          let two = angles[params.anglesAt + d + 1u];
          let cosine = vec2<f32>(one.x, two.x);
          let sine = vec2<f32>(one.y, two.y);
          return vec4<f32>(pairs.xy * cosine - pairs.zw * sine, pairs.zw * cosine + pairs.xy * sine);
        }`,
      body: `
        ${batchOf(variant, 'group.y')}
        let half = params.headDim / 2u;
        let quarters = params.headDim / 4u;
        let head = group.x / quarters;
        let d = group.x % quarters * 2u;
        let isQuery = head < params.heads;
        let isKey = !isQuery && head < params.heads + params.kvHeads;
        let h = select(select(head - params.heads - params.kvHeads, head - params.heads, isKey), head, isQuery);
        let first = h * params.headDim + d;
        let places = vec4<u32>(${PAIRS.join(', ')});
        ${declareFactors(variant)}
        ${declareSums(variant)}
        if (isQuery) ${rowsOfHead('q')}
        if (isKey) ${rowsOfHead('k')}
        if (!isQuery && !isKey) ${rowsOfHead('v')}
        ${eachRow(variant, keep)}`,
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
      ${BESIDE}
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
      ${softmaxOfRow('scoreOf(j, h, base + j * stride, scores)', 'start', 'params.keyLength', true)}
      let inverse = 1.0 / sum;
      ${offsetOf('f32(params.keyLength - start)')}
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

/** Four rows of a result by the group; rows past the last repeat it and are not kept. */
const fourRows = (last: string): string => `
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= ${last}) { return; }
  let rows = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(${last} - 1u));`;

const rowsOf = (matrix: string): (readonly [string, string])[] => range(4).map((e) => [matrix, `rows[${e}]`]);

/** x += W . y for a part y of the state. Grid: x and y = fours of W's rows, z = groups of rows. */
export const decoderAdd = kernel({
  name: 'decoder/add',
  params: { batch: 'u32', width: 'u32', length: 'u32', inputAt: 'u32' },
  text: (variant: DecoderVariant) => ({
    buffers: { state: write('f32'), weight: read(weightOf(variant)) },
    workgroupSize: 'row',
    reductions: ['total4'],
    body: `
      ${batchOf(variant, 'group.z')}
      ${fourRows('params.width')}
      ${declareSums(variant)}
      ${addRows(variant, 'params.length', (r) => stateAt(variant, `params.inputAt + b${r} * params.length`), rowsOf('weight'))}
      ${eachRow(
        variant,
        (r) => `let result${r} = total4(sums${r}, lane);
        if (lane < 4u && first + lane < params.width && ${isKept(variant, 'group.z', r)}) {
          state[b${r} * params.width + first + lane] += result${r}[lane];
        }`,
      )}`,
  }),
});

/** silu(gate) * up after the norm. Grid: x = pairs of the inner width, y = groups of rows. */
export const decoderGate = kernel({
  name: 'decoder/gate',
  params: { batch: 'u32', width: 'u32', inner: 'u32', innerAt: 'u32', epsilon: 'f32' },
  text: (variant: DecoderVariant) => {
    const weight = read(weightOf(variant));
    const rows = [
      ['gate', 'first'],
      ['gate', 'second'],
      ['up', 'first'],
      ['up', 'second'],
    ] as const;
    return {
      buffers: { state: write('f32'), norm: weight, gate: weight, up: weight },
      workgroupSize: 'row',
      reductions: ['total', 'total4'],
      declarations: `
        fn gated(pairs: vec4<f32>) -> vec2<f32> {
          let e = exp(-abs(pairs.xy));
          let sigmoid = select(e, vec2<f32>(1.0), pairs.xy >= vec2<f32>()) / (1.0 + e);
          return pairs.xy * sigmoid * pairs.zw;
        }`,
      body: `
        ${batchOf(variant, 'group.y')}
        let first = group.x * 2u;
        let second = min(first + 1u, params.inner - 1u);
        ${declareFactors(variant)}
        ${declareSums(variant)}
        ${addNormed(variant, rows)}
        ${eachRow(
          variant,
          (r) => `let result${r} = gated(total4(sums${r}, lane) * factor${r});
          if (lane < 2u && first + lane < params.inner && ${isKept(variant, 'group.y', r)}) {
            state[params.innerAt + b${r} * params.inner + first + lane] = result${r}[lane];
          }`,
        )}`,
    };
  },
});

/** Logits after the last norm. Grid: x and y = fours of the vocabulary, z = groups of rows. */
export const decoderLogits = kernel({
  name: 'decoder/logits',
  params: { batch: 'u32', width: 'u32', vocabulary: 'u32', logitsAt: 'u32', epsilon: 'f32' },
  text: (variant: DecoderVariant) => {
    const weight = read(weightOf(variant));
    return {
      buffers: { state: write('f32'), norm: weight, head: weight },
      workgroupSize: 'row',
      reductions: ['total', 'total4'],
      body: `
        ${batchOf(variant, 'group.z')}
        ${fourRows('params.vocabulary')}
        ${declareFactors(variant)}
        ${declareSums(variant)}
        ${addNormed(variant, rowsOf('head'))}
        ${eachRow(
          variant,
          (r) => `let result${r} = total4(sums${r}, lane) * factor${r};
          if (lane < 4u && first + lane < params.vocabulary && ${isKept(variant, 'group.z', r)}) {
            state[params.logitsAt + b${r} * params.vocabulary + first + lane] = result${r}[lane];
          }`,
        )}`,
    };
  },
});
