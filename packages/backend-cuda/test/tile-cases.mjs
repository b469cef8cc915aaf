// Tests of this backend beyond the shared suite, as data: for tiles.test.ts, and for the mutations, which run without vitest.
import { attentionCases, packed, sliding } from '@lazy-attention/conformance';

/**
 * Shapes that this backend's tiles care about and the shared suite cannot know: several tiles of rows (up to 128) and keys
 * (16 to 64) in every padded head size, tiles that need no mask because they lie beyond window and diagonal, tiles that
 * a warp or a block skips, and rows and keys that end just before, at and after a tile.
 */
const TILES = {
  head_64_plain_tiles: { L: 260, H: 1, D: 64, W: 20, tau: -1 },
  head_64_chunk_of_long_cache: { L: 130, S: 321, H: 2, Hkv: 1, D: 64, W: 100, tau: -1 },
  head_64_far_documents: { L: 300, H: 1, D: 64, W: 40, tau: -0.8, starts: packed(90, 201) },
  head_40_sliding: { L: 200, H: 1, D: 40, W: 16, tau: -1, starts: sliding(33) },
  head_64_exact_tiles: { L: 128, S: 192, H: 1, D: 64, W: 64, tau: -1 },
  head_64_one_past_tiles: { L: 129, S: 193, H: 1, D: 64, W: 65, tau: -1 },
  head_64_one_before_tiles: { L: 127, S: 191, H: 1, D: 64, W: 63, tau: 0.5 },
  head_64_softmax: { L: 150, H: 1, D: 64 },
  // The first row of a warp lies one short of a tile's end: 30 rows of cache before row 32.
  head_64_no_bias: { L: 140, S: 170, H: 1, D: 64, tau: -1 },
  head_64_no_bias_documents: { L: 260, H: 1, D: 64, tau: -1, starts: packed(90, 201) },
  head_128_no_bias: { L: 100, S: 130, H: 1, D: 128, tau: -1 },
  // Wider than the forward kernel's table: 8192 entries of shared memory at D = 128 without training, 2048 with it.
  head_128_wide_bias: { L: 70, S: 200, H: 1, D: 128, W: 9000, tau: -1 },
  head_64_wide_bias: { L: 140, S: 300, H: 1, D: 64, W: 4000, tau: -1 },
  // The largest product is then that of the smallest score.
  head_64_negative_scale: { L: 200, H: 1, D: 64, W: 16, tau: -1, scale: -0.125 },
  head_128_plain_tiles: { L: 230, H: 2, Hkv: 1, D: 128, W: 10, tau: -1 },
  head_96_documents: { L: 170, S: 201, H: 1, D: 96, W: 33, tau: -1, starts: packed(64, 134) },
  head_256_plain_tiles: { L: 150, H: 1, D: 256, W: 5, tau: -1 },
  head_200_grouped: { L: 70, S: 101, H: 2, Hkv: 1, D: 200, W: 40, tau: -1 },
  // The last row's own key is the first of a tile, and has about half of its weight; forward only, as with any cache that is not full.
  head_64_last_key_opens_tile: { L: 128, S: 129, capacity: 130, H: 1, D: 64, W: 1, bias: () => 5, tau: -1 },
  head_128_last_key_opens_tile: { L: 128, S: 129, capacity: 130, H: 1, D: 128, W: 1, bias: () => 5, tau: -1 },
  head_136_inference_columns: { L: 65, S: 66, H: 1, D: 136, W: 9, tau: -0.3 },
  // Far tiles hold no positive weight: all of them, those of one head in two, or some (scores of deviation 4).
  head_64_local: { L: 330, H: 2, D: 64, W: 24, tau: -1, bias: (h, d) => (h === 0 ? 14 : 0.1 * d) },
  head_64_local_documents: { L: 400, H: 1, D: 64, W: 30, tau: -1, bias: () => 12, starts: packed(150, 301) },
  head_64_partly_local: { L: 390, S: 460, H: 2, Hkv: 1, D: 64, W: 16, tau: -1, bias: () => 8, deviation: 2 },
  head_128_local: { L: 200, S: 330, H: 2, Hkv: 1, D: 128, W: 24, tau: -1, bias: (h) => 14 * h },
  head_128_partly_local: { L: 260, H: 1, D: 128, W: 16, tau: -1, bias: () => 8, deviation: 2 },
  head_256_local: { L: 130, H: 1, D: 256, W: 16, tau: -1, bias: () => 14 },
  // More key tiles than there are maxima (80), so that two tiles share one.
  head_128_local_long: { L: 20, S: 6300, H: 1, D: 128, W: 24, tau: -1, bias: () => 20, deviation: 2 },
};

/** The same for the exact kernels, which f32 and head sizes that are no multiple of 8 take. */
const EXACT_TILES = {
  exact_head_64: { L: 70, S: 101, H: 2, Hkv: 1, D: 64, W: 20, tau: -1 },
  exact_head_100: { L: 65, H: 1, D: 100, W: 64, tau: -1, starts: packed(31) },
  exact_head_256: { L: 33, S: 40, H: 1, D: 252, W: 9, tau: -1 },
};

const embedding = {
  name: 'embeddingGrad f32 rows_in_the_order_of_the_ids',
  op: 'embedding',
  direction: 'backward',
  dtype: 'f32',
  run: async (backend) => {
    const count = 2500; // kernels/rows.cu looks at 1024 ids at a time
    const ids = Int32Array.from({ length: count }, (_, i) => (i * i) % 7);
    const expected = new Float32Array(7 * 2);
    ids.forEach((id, i) => {
      expected[2 * id] += i % 5;
      expected[2 * id + 1] += 1;
    });
    const values = Float32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? (i / 2) % 5 : 1));
    const [dy, rows] = [backend.tensor(values, [count, 2]), backend.tensor(ids, [count], 'i32')];
    const gradient = backend.embeddingGrad(dy, rows, 7);
    const actual = await gradient.data();
    for (const tensor of [dy, rows, gradient]) tensor.dispose();
    const wrong = actual.findIndex((value, i) => value !== expected[i]);
    if (wrong !== -1) throw new Error(`[${wrong}] is off by ${Math.abs(actual[wrong] - expected[wrong])}`);
  },
};

/** @type {import('@lazy-attention/conformance').Case[]} */
export const tileCases = [
  ...attentionCases(TILES, { dtypes: ['bf16', 'f16'] }),
  ...attentionCases(EXACT_TILES, { dtypes: ['f32'] }),
  ...attentionCases({ exact_head_100: EXACT_TILES.exact_head_100 }, { dtypes: ['bf16'] }),
  embedding,
];
