import { runConformance } from '@lazy-attention/conformance/vitest';
import { Backend } from '@lazy-attention/core';
import { provider } from '../src/index.ts';

// The GPU's kernels on the host. Any access to shared memory out of bounds, unwritten or racing, any divergent barrier or
// collective, makes the device lost, and so fails the test that it happens in.
runConformance('cuda (emulated)', async () => new Backend(await provider.create({ device: 'emulated' })), {
  dtypes: ['f32', 'bf16', 'f16'],
  size: 'small',
});
