import { runConformance } from '@lazy-attention/conformance/vitest';
import { Backend } from '@lazy-attention/core';
import { provider } from '../src/index.ts';

// The GPU's kernels on the host. Any access to shared memory out of bounds, unwritten or racing, any divergent barrier or
// collective, makes the device lost, and so fails the test that it happens in.
runConformance(
  'cuda',
  async () => new Backend(await provider.create({ device: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' })),
  {
    dtypes: ['f32', 'bf16', 'f16'],
    // A few seconds of two cores: the small size would do without the long sequences.
    size: 'full',
  },
);
