import { Backend } from '@lazy-attention/core';
import { testKindsOn } from '../../nn/test/kinds-on.ts';
import { provider } from '../src/index.ts';

// The GPU's kernels on the host, where no GPU is chosen.
const device = process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated';
// With QK-norm only: each costs seconds there.
testKindsOn('cuda', async () => new Backend(await provider.create({ device })), [true]);
