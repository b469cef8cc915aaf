import { BackendUnavailableError } from '@lazy-attention/core';
import type { GpuSource } from './device/adapter.ts';

/** The part of a page's (or worker's) globals that matters; this package is compiled without the DOM's types. */
const page = globalThis as { readonly navigator?: { readonly gpu?: GPU }; readonly isSecureContext?: boolean };

/** `navigator.gpu` of a page or a worker. */
export const browserSource: GpuSource = {
  requested: undefined,

  async open() {
    const gpu = page.navigator?.gpu;
    if (gpu === undefined) {
      throw new BackendUnavailableError(
        'webgpu',
        page.isSecureContext === false
          ? 'the page is not a secure context, so the browser hides navigator.gpu'
          : 'this browser has no WebGPU (navigator.gpu)',
        'serve the page over https or from localhost, in a browser with WebGPU (on Linux, Chromium may need --enable-unsafe-webgpu)',
      );
    }
    return gpu;
  },

  async openNamed() {
    return null;
  },

  async explainMissing() {
    return {
      reason: 'the browser offers no WebGPU adapter: the GPU is blocked or its driver is not supported',
      fix: 'update the graphics driver and look at chrome://gpu (Firefox: about:support) for why WebGPU is off',
    };
  },
};
