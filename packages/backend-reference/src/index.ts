import { type BackendProvider, checkOptions, type Kernels } from '@lazy-attention/core';
import { createKernels } from './kernels.ts';

export { createKernels } from './kernels.ts';

/** What `createBackend('reference')` finds. Runs wherever JavaScript does and takes no options. */
export const provider: BackendProvider = {
  name: 'reference',
  probe: async () => ({
    available: true,
    device: createKernels().device,
    reason: 'plain TypeScript runs everywhere; slow, meant for checking and as the last resort',
  }),
  create: async (options) => {
    checkOptions('reference', options, []);
    return createKernels() as Kernels;
  },
};
