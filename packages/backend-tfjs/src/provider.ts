import { type BackendProvider, BackendUnavailableError, checkOptions } from '@lazy-attention/core';
import { candidateEngines, checkEngineName, type Engine, openEngine } from './engine.ts';
import { createKernels } from './kernels.ts';

/**
 * `createBackend('tfjs', { engine })`. Without `engine`, the best that is installed and works: in Node tfjs-node-gpu,
 * tfjs-node, wasm, cpu; in browsers, of those that the page has imported, webgpu, webgl, wasm, cpu.
 */
export const provider: BackendProvider = {
  name: 'tfjs',

  async probe() {
    try {
      const { device } = await openBest();
      return { available: true, device, reason: 'multiplies two matrices rightly' };
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) return { available: false, device: '', reason: String(error) };
      const fix = error.fix === undefined ? {} : { fix: error.fix };
      return { available: false, device: '', reason: error.reason, ...fix };
    }
  },

  async create(options) {
    checkOptions("createBackend('tfjs')", options, ['engine']);
    const { engine } = options;
    if (engine === undefined) return createKernels(await openBest());
    checkEngineName(engine);
    return createKernels(await openEngine(engine));
  },
};

async function openBest(): Promise<Engine> {
  const reasons: string[] = [];
  for (const name of candidateEngines()) {
    try {
      return await openEngine(name);
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) throw error;
      reasons.push(error.reason);
    }
  }
  throw new BackendUnavailableError(
    'tfjs',
    `no engine works here\n    ${reasons.join('\n    ')}`,
    'npm install @tensorflow/tfjs-core@4 @tensorflow/tfjs-backend-wasm@4',
  );
}
