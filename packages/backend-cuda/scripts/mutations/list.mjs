const forward = 'attention_forward.cu';
const grad = 'attention_grad.cu';
const exact = 'attention_exact.cu';
const decode = 'attention_decode.cu';
const matmul = 'matmul.cu';
const tensorAttention = [forward, grad];

const TILES = 'bf16 head_64';
/**
 * Mistakes that are easily made in a kernel.
 *
 * file: of cpp/kernels. from, to: what to replace (the `nth` time it occurs, from 0). run: the cases to run, by name. compile:
 * for headers, the kernels that see the change. always: one of those that every test run tries, at least one of each kind
 * and of each family of kernels; the rest takes minutes.
 *
 * @type {readonly { name: string, file: string, from: string, to: string, nth?: number, run: string,
 *   compile?: readonly string[], always?: true }[]}
 */
export const MUTATIONS = [
  // dropped barriers and waits
  {
    name: 'forward: no barrier before tile t is read',
    file: forward,
    from: '__syncthreads();  // tile t is there for all',
    to: '//',
    run: TILES,
  },
  {
    name: 'forward: no barrier between the passes',
    file: forward,
    from: '  __syncthreads();\n  fetchKeys(firstTile);',
    to: '  fetchKeys(firstTile);',
    run: TILES,
    always: true,
  },
  {
    name: 'forward: no barrier in pass 2',
    file: forward,
    from: '__syncthreads();\n    if (t < lastTile) {\n      fetchKeys(t + 1);\n      fetchValues(t + 1);',
    to: 'if (t < lastTile) {\n      fetchKeys(t + 1);\n      fetchValues(t + 1);',
    run: TILES,
  },
  {
    name: 'forward: pass 1 does not wait for its copies',
    file: forward,
    from: 'copyAsyncWait<0>();',
    to: 'copyAsyncWait<1>();',
    run: TILES,
  },
  {
    name: 'forward: pass 2 does not wait for its copies',
    file: forward,
    from: 'copyAsyncWait<0>();',
    nth: 1,
    to: 'copyAsyncWait<1>();',
    run: TILES,
    always: true,
  },
  {
    name: 'gradient of q: no barrier before dbias is summed',
    file: grad,
    from: 'if (near) {\n      __syncthreads();',
    to: 'if (near) {',
    run: TILES,
    always: true,
  },
  {
    name: 'gradient of k and v: no barrier per step',
    file: grad,
    from: '__syncthreads();\n    if (Shape::stages > 1 && i + 1 < count)',
    to: 'if (Shape::stages > 1 && i + 1 < count)',
    run: TILES,
  },
  {
    name: 'gradient, one stage: refill without a barrier',
    file: grad,
    from: '      __syncthreads();\n      if (i + 1 < count) fetch(i + 1);',
    to: '      if (i + 1 < count) fetch(i + 1);',
    run: 'bf16 head_256',
  },
  {
    name: 'exact forward: no barrier before weights are read',
    file: exact,
    from: '    store(Buffers<D>::m(), m, y, x);\n    __syncthreads();',
    to: '    store(Buffers<D>::m(), m, y, x);',
    run: 'f32 exact_head_64',
    always: true,
  },
  {
    name: 'decode: no barrier before weights are read',
    file: decode,
    from: '  __syncthreads();\n  float o[2] = {};',
    to: '  float o[2] = {};',
    run: 'attention f32 decode',
    always: true,
  },
  {
    name: 'matmul: no barrier per step',
    file: matmul,
    from: 'copyAsyncWait<0>();\n    __syncthreads();',
    to: 'copyAsyncWait<0>();',
    run: 'matmul bf16',
    always: true,
  },
  {
    name: 'block sums: scratch reused without a barrier',
    file: '../gpu/target.h',
    from: 'total += scratch[w];\n  __syncthreads();',
    to: 'total += scratch[w];',
    run: 'rmsNorm',
    always: true,
    compile: ['rows.cu'],
  },
  {
    name: 'embedding gradient: no barrier between steps',
    file: 'rows.cu',
    from: '    __syncthreads();\n  }\n#pragma unroll\n  for (int c = 0',
    to: '  }\n#pragma unroll\n  for (int c = 0',
    run: 'rows_in_the_order',
    always: true,
  },
  // wrong fragments
  {
    name: 'operand A: columns of the wrong half',
    file: 'tiles.h',
    from: 'unit(row + (lane & 15), column / 8 + (lane >> 4))',
    to: 'unit(row + (lane & 15), column / 8 + (lane & 1))',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'operand B: matrices in the wrong order',
    file: 'tiles.h',
    from: '(lane & 7) + (lane >> 4) * 8, column / 8 + ((lane >> 3) & 1)',
    to: '(lane & 7) + ((lane >> 3) & 1) * 8, column / 8 + (lane >> 4)',
    run: TILES,
    always: true,
    compile: tensorAttention,
  },
  {
    name: 'accumulators packed in the wrong order',
    file: 'tiles.h',
    from: 'a[1] = pack<T>(c[0][2], c[0][3]);\n  a[2] = pack<T>(c[1][0], c[1][1]);',
    to: 'a[2] = pack<T>(c[0][2], c[0][3]);\n  a[1] = pack<T>(c[1][0], c[1][1]);',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'swizzle of the copy differs from that of the reads',
    file: 'tiles.h',
    from: 'copyAsync16(unit(row, c),',
    to: 'copyAsync16(unit(row, c ^ 1),',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'accumulator rows 8 apart stored 4 apart',
    file: 'tiles.h',
    from: 'row + lane / 4 + 8 * half',
    to: 'row + lane / 4 + 4 * half',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'matmul: transposed operand A read as it lies',
    file: matmul,
    from: '.loadATransposed(fa[i], k, r % 64)',
    to: '.loadA(fa[i], k, r % 64)',
    run: 'matmul bf16',
  },
  {
    name: 'row sum leaves out half the quad',
    file: forward,
    from: '      total += shuffleXor(total, 2);\n',
    to: '',
    run: TILES,
  },
  // edges off by one
  {
    name: 'forward: the diagonal is masked',
    file: forward,
    from: 'at <= last[i][e / 2];',
    to: 'at < last[i][e / 2];',
    run: TILES,
    always: true,
  },
  {
    name: 'forward: last key tile missed',
    file: forward,
    from: 'p.position(first + rows - 1) / keyTile;',
    to: '(p.position(first + rows - 1) - 1) / keyTile;',
    run: 'bf16 head_(64|128)_last_key',
  },
  {
    name: 'forward: a tile on the diagonal taken for plain',
    file: forward,
    from: 'firstPosition - (t * keyTile + keyTile - 1) >= p.window',
    to: 'firstPosition - (t * keyTile + keyTile - 1) + 1 >= p.window',
    run: 'bf16 head_(64|128)_no_bias',
  },
  {
    name: 'forward: the bias window one short',
    file: forward,
    from: 'firstPosition - (t * keyTile + keyTile - 1) >= p.window',
    to: 'firstPosition - (t * keyTile + keyTile - 1) + 32 >= p.window',
    run: TILES,
  },
  {
    name: 'forward: documents ignored by the plain test',
    file: forward,
    from: 't * keyTile >= lastStart &&',
    to: 't * keyTile >= firstStart &&',
    run: 'bf16 head_64_no_bias',
    always: true,
  },
  {
    name: 'copy: one row too few',
    file: 'tiles.h',
    from: 'row < limit && c * 8 < width',
    to: 'row + 1 < limit && c * 8 < width',
    run: TILES,
    compile: tensorAttention,
  },
  {
    name: 'copy: one unit too many per row',
    file: 'tiles.h',
    from: 'c * 8 < width;',
    to: 'c * 8 <= width;',
    run: 'bf16 head_(40|96|200)',
    compile: tensorAttention,
  },
  {
    name: 'gradient of k: first query tile too late',
    file: grad,
    from: '(first - shift) / step : 0;',
    to: '(first - shift + step - 1) / step + 1 : 0;',
    run: 'bf16 head_64_one',
    always: true,
  },
  { name: 'gradient of q: diagonal one row short', file: grad, from: 'r <= to; ++r)', to: 'r < to; ++r)', run: TILES },
  {
    name: 'gradient of k: documents end too early',
    file: grad,
    from: 'p.start(b, endTile * step) < first + rows',
    to: 'p.start(b, endTile * step) < first + 1',
    run: 'bf16 head_64_far',
  },
  {
    name: 'decode: keys before the start attended',
    file: decode,
    from: 'if (j < start) continue;',
    to: '',
    run: 'attention f32 decode_with_left',
  },
  {
    name: 'matmul: last step of k missed',
    file: matmul,
    from: 'const int steps = ceilDiv(z.k, tileK);',
    to: 'const int steps = z.k / tileK;',
    run: 'matmul bf16',
    always: true,
  },
  // wrong mathematics
  {
    name: 'weights: inactive pairs kept',
    file: forward,
    from: 'weight > 0 && (plainTile',
    to: 'weight > -1 && (plainTile',
    run: TILES,
  },
  {
    name: 'gradient: inactive pairs without -p delta',
    file: grad,
    from: 'weight * ((active ? g : 0.0f) - row.delta)',
    to: 'weight * (active ? g - row.delta : 0.0f)',
    run: TILES,
    always: true,
  },
  {
    name: 'gradient: delta from the output',
    file: 'attention.cu',
    from: 'p.a == nullptr ? p.out : p.a',
    to: 'p.out',
    run: TILES,
  },
];
