import { optional } from './optional.ts';

/**
 * Gives programs that were written for browsers the WebGPU that they look for, from npm `webgpu` (Dawn).
 *
 * @returns false where that package does not load
 */
export async function provideGpu(): Promise<boolean> {
  const dawn = await optional('webgpu');
  if (dawn === null) return false;
  const { create, globals } = dawn as { create(options: string[]): unknown; globals: object };
  const navigator = { ...(globalThis as { navigator?: object }).navigator, userAgent: 'node', gpu: create([]) };
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  return true;
}
