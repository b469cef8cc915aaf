import { attentionCases, conformanceCases } from '@lazy-attention/conformance';
import { Backend } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { provider } from '../src/index.ts';
import { tileCases } from './tile-cases.mjs';

const device = process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated';

/** Tiles of 128 keys, of which the last begins with one key, ends with one too few, or is the first of all. */
const TILES = {
  head_64_five_tiles: { L: 300, S: 641, H: 2, Hkv: 1, D: 64, W: 100, tau: -1 },
  head_64_no_whole_group: { L: 65, S: 127, H: 1, D: 64, W: 30, tau: -0.7 },
  head_128_tiles: { L: 200, S: 333, H: 1, D: 128, W: 50, tau: -1 },
  head_64_widest_bias: { L: 70, S: 100, H: 1, D: 64, W: 7808, tau: -1 },
  head_64_too_wide_a_bias: { L: 70, S: 100, H: 1, D: 64, W: 7809, tau: -1 },
} as const;

/** Why this GPU has no such kernels, or null. */
const refused = await provider.create({ device, path: 'hopper' }).then(
  async (kernels) => {
    await kernels.dispose();
    return null;
  },
  (error: unknown) => {
    if (/compute capability 9\.0 alone/.test(String(error))) return String(error);
    throw error;
  },
);
const why = refused === null ? '' : `: ${refused}`;

// What the kernels for sm_90a take, and what stays with the others beside them; ops other than attention know no paths.
describe.skipIf(refused !== null)(`the path for Hopper${why}`, { timeout: 120_000 }, () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = new Backend(await provider.create({ device, path: 'hopper' }));
  });
  afterAll(async () => {
    await backend.dispose();
  });

  const dtypes = ['bf16', 'f16'] as const;
  const cases = [
    ...attentionCases(TILES, { dtypes }),
    ...tileCases.filter(({ op, dtype }) => /^attention/.test(op) && dtype !== 'f32'),
    ...conformanceCases({ dtypes, size: 'full' }).filter(({ op }) => /^attention/.test(op)),
  ];
  for (const { name, run } of cases) test(name, () => run(backend));
});

test.skipIf(refused !== null)(`which kernels ran is counted: wide heads stay with mma.sync${why}`, async () => {
  const hopper = new Backend(await provider.create({ device, path: 'hopper' }));
  for (const [headDim, dtype] of [
    [64, 'bf16'],
    [128, 'bf16'],
    [128, 'f32'],
  ] as const) {
    const x = hopper.full([1, 4, 1, headDim], 1, dtype);
    const { output, saved } = hopper.attention(x, x, x, { tau: hopper.full([1], -1) });
    hopper.attentionGrad(output, saved);
    hopper.attention(hopper.full([1, 1, 1, headDim], 1, dtype), x, x, { save: false });
  }
  await hopper.synchronize();
  expect(hopper.launches()).toMatchObject({
    'attention hopper': 1,
    'attention mma': 1,
    'attention exact': 1,
    'attention decode': 3,
    'attentionGrad hopper': 1,
    'attentionGrad mma': 1,
    'attentionGrad exact': 1,
  });
  await hopper.dispose();
});

test.skipIf(refused !== null)(`the path is named${why}`, async () => {
  const kernels = await provider.create({ device, path: 'hopper' });
  expect(kernels.device).toMatch(/attention for Hopper/);
  await kernels.dispose();
});
