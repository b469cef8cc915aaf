import { runTermination } from '@lazy-attention/conformance/vitest';

runTermination({
  module: new URL('../dist/index.js', import.meta.url).href,
  options: { device: process.env.LAZY_ATTENTION_CUDA_DEVICE ?? 'emulated' },
  widths: [4, 8, 16],
});
