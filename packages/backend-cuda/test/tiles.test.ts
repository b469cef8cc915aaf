import { Backend, type FloatDType } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TOLERANCES } from '../../conformance/src/case.ts';
import { assertAgrees } from '../../conformance/src/evaluate.ts';
import { Generator } from '../../conformance/src/problem.ts';
import { seedOf } from '../../conformance/src/random.ts';
import { type AttentionSpec, attentionProblem } from '../../conformance/src/suites/attention-problem.ts';
import { packed, sliding } from '../../conformance/src/suites/starts.ts';
import { provider } from '../src/index.ts';

/**
 * Shapes that this backend's tiles care about and the shared suite cannot know: several tiles of rows (up to 128) and keys
 * (16 to 64) in every padded head size, tiles that need no mask because they lie beyond window and diagonal, tiles that
 * a warp or a block skips, and rows and keys that end just before, at and after a tile.
 */
const SPECS: Readonly<Record<string, AttentionSpec & { readonly dtypes?: readonly FloatDType[] }>> = {
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
  head_128_plain_tiles: { L: 230, H: 2, Hkv: 1, D: 128, W: 10, tau: -1 },
  head_96_documents: { L: 170, S: 201, H: 1, D: 96, W: 33, tau: -1, starts: packed(64, 134) },
  head_256_plain_tiles: { L: 150, H: 1, D: 256, W: 5, tau: -1 },
  head_200_grouped: { L: 70, S: 101, H: 2, Hkv: 1, D: 200, W: 40, tau: -1 },
  head_136_inference_columns: { L: 65, S: 66, H: 1, D: 136, W: 9, tau: -0.3 },
  exact_head_64: { L: 70, S: 101, H: 2, Hkv: 1, D: 64, W: 20, tau: -1, dtypes: ['f32'] },
  exact_head_100: { L: 65, H: 1, D: 100, W: 64, tau: -1, starts: packed(31), dtypes: ['f32', 'bf16'] },
  exact_head_256: { L: 33, S: 40, H: 1, D: 252, W: 9, tau: -1, dtypes: ['f32'] },
};

describe('attention at the borders of its tiles', { timeout: 60_000 }, () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = new Backend(await provider.create({ device: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' }));
  });
  afterAll(async () => {
    await backend.dispose();
  });

  for (const [name, { dtypes = ['bf16', 'f16'], ...spec }] of Object.entries(SPECS)) {
    for (const dtype of dtypes) {
      for (const direction of ['forward', 'backward'] as const) {
        test(`${name} ${dtype} ${direction}`, async () => {
          const problem = await attentionProblem(new Generator(dtype, seedOf(name)), spec);
          await assertAgrees(backend, problem, dtype, direction, TOLERANCES[dtype]);
        });
      }
    }
  }
});

describe('embedding over several steps of ids', { timeout: 60_000 }, () => {
  test('embedding gradient adds rows in the order of the ids', async () => {
    const backend = new Backend(
      await provider.create({ device: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' }),
    );
    const count = 2500; // kernels/rows.cu looks at 1024 ids at a time
    const ids = Int32Array.from({ length: count }, (_, i) => (i * i) % 7);
    const expected = new Float32Array(7 * 2);
    ids.forEach((id, i) => {
      expected[2 * id] += i % 5;
      expected[2 * id + 1] += 1;
    });
    const dy = Float32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? (i / 2) % 5 : 1));
    const gradient = backend.embeddingGrad(backend.tensor(dy, [count, 2]), backend.tensor(ids, [count], 'i32'), 7);
    expect(await gradient.data()).toEqual(expected);
    await backend.dispose();
  });
});
