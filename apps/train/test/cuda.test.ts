import { provider } from '@lazy-attention/backend-cuda';
import { it } from 'vitest';
import { expectLossesOfTheReference } from './follow.ts';
import { temporary } from './helpers.ts';

/** On a GPU where one is chosen; else its kernels on the host, about a minute for these steps. */
const DEVICE = { LAZY_ATTENTION_CUDA_DEVICE: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' };

it('train --backend cuda has the losses of the reference over 50 steps of pico', {
  timeout: 400_000,
}, async (context) => {
  process.env.LAZY_ATTENTION_CUDA_DEVICE = DEVICE.LAZY_ATTENTION_CUDA_DEVICE;
  const { available, reason } = await provider.probe();
  if (!available) context.skip(`cuda: ${reason}`);
  await expectLossesOfTheReference('cuda', temporary(), DEVICE);
});
