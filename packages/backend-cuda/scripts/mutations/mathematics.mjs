const forward = 'attention_forward.cu';
const forwardWarp = 'attention_forward.h';
const grad = 'attention_grad.cu';
const TILES = 'bf16 head_64';

/** Wrong mathematics of attention by mma.sync, as in list.mjs. */
export const MATHEMATICS = [
  {
    name: 'weights: NaN becomes zero',
    file: forwardWarp,
    compile: [forward],
    from: 's[i][n][e] = training ? fmaf(p, row.y, row.z) : p + row.z;',
    to: 's[i][n][e] = fmaxf(training ? fmaf(p, row.y, row.z) : p + row.z, 0.0f);',
    run: 'attention bf16 not_a_number_in_q',
    always: true,
  },
  {
    name: 'weights: inactive pairs kept',
    file: forwardWarp,
    compile: [forward],
    from: 'packWeights<T>(w[i], s[i]);',
    to: 'packA<T>(w[i], s[i]);',
    run: TILES,
  },
  {
    name: 'gradient: inactive pairs without -p delta',
    file: 'attention_grad.h',
    from: 'weight * ((active ? g : 0.0f) - row.delta)',
    to: 'weight * (active ? g - row.delta : 0.0f)',
    run: TILES,
    always: true,
    compile: [grad],
  },
  {
    name: 'gradient: the bias of the distance beside',
    file: grad,
    from: 'r - key + Shape::rows - 1',
    to: 'r - key + Shape::rows',
    run: TILES,
  },
  {
    name: 'gradient: rows that do not exist attend',
    file: 'attention.cu',
    from: 'make_float4(0, 0, 0, INFINITY)',
    to: 'make_float4(0, 0, 0, 0)',
    run: 'attentionGrad bf16',
  },
  {
    name: 'gradient: delta from the output',
    file: 'attention.cu',
    from: 'p.a == nullptr ? p.out : p.a',
    to: 'p.out',
    run: TILES,
  },
  {
    name: 'forward: tiles with small weights left out',
    file: forwardWarp,
    compile: [forward],
    from: '- (1e-5f',
    to: '+ (5.0f',
    run: 'bf16 head_(64|128)_plain_tiles',
  },
  {
    name: 'forward: maxima without half the rows',
    file: forwardWarp,
    compile: [forward],
    from: 'top = fmaxf(top, next);',
    to: 'if (half == 0) top = fmaxf(top, next);',
    run: 'bf16 head_(64|128)_partly',
  },
  {
    name: 'forward: maxima of two tiles, one kept',
    file: forward,
    from: 't == lastTile || (t + 1) >> span != t >> span',
    to: 't == lastTile || span == 0 || (t + 1) >> span == t >> span',
    run: 'bf16 head_128_local_long',
  },
  {
    name: 'activity of the other rows',
    file: forwardWarp,
    compile: [forward],
    from: '(8 * i + row / activeKeys)',
    to: '(8 * (1 - i) + row / activeKeys)',
    run: 'bf16 head_64_partly',
  },
  {
    name: 'activity of the neighbouring keys',
    file: grad,
    from: '>> warp & 1',
    to: '>> (warp ^ 1) & 1',
    run: 'bf16 head_64_partly',
    always: true,
  },
];
