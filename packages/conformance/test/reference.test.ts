import { createKernels } from '@lazy-attention/backend-reference';
import { Backend, type Kernels } from '@lazy-attention/core';
import { runConformance } from '../src/vitest.ts';

runConformance('reference', () => new Backend(createKernels() as Kernels), { dtypes: ['f32', 'f64', 'bf16', 'f16'] });
