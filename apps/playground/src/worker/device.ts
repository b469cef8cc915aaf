import { Backend, type BackendProvider, BackendUnavailableError } from '@lazy-attention/core';
import type { Device, EngineChoice } from './api.ts';

type Name = Exclude<EngineChoice, 'auto'>;

/** Engines are loaded when they are needed: a page that only replays needs none. */
const LOADERS: { readonly [name in Name]: () => Promise<{ provider: BackendProvider; options: object }> } = {
  async webgpu() {
    return { provider: (await import('@lazy-attention/backend-webgpu')).provider, options: {} };
  },
  async tfjs() {
    const { prepareWasm } = await import('./wasm.ts');
    return { provider: await prepareWasm(), options: { engine: 'wasm' } };
  },
  async reference() {
    return { provider: (await import('@lazy-attention/backend-reference')).provider, options: {} };
  },
};

const BEST_FIRST: readonly Name[] = ['webgpu', 'tfjs', 'reference'];

/** Opens the best engine that works here, or the one that was asked for. @throws with the reasons and fixes */
export async function openBackend(choice: EngineChoice): Promise<{ backend: Backend; device: Device }> {
  const reasons: string[] = [];
  for (const name of choice === 'auto' ? BEST_FIRST : [choice]) {
    try {
      const { provider, options } = await LOADERS[name]();
      const backend = new Backend(await provider.create(options as Record<string, unknown>));
      return { backend, device: { backend: name, name: backend.device, note: reasons.join(' ') } };
    } catch (error) {
      reasons.push(sentence(error));
    }
  }
  throw new Error(`No engine works in this browser. ${reasons.join(' ')}`);
}

function sentence(error: unknown): string {
  if (!(error instanceof BackendUnavailableError)) return error instanceof Error ? `${error.message}.` : String(error);
  return error.fix === undefined ? `${error.reason}.` : `${error.reason}: ${error.fix}.`;
}
