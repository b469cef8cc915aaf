/** Runs in a browser: the conformance suite on one engine of tfjs, for browser.test.ts. */
import '@tensorflow/tfjs-backend-webgl';
import '@tensorflow/tfjs-backend-webgpu';
import { conformanceCases, runCases } from '@lazy-attention/conformance';
import { createBackend, registerBackend } from '@lazy-attention/core';
import { provider } from '../../src/index.ts';

registerBackend(provider);

export interface Outcome {
  readonly device: string;
  readonly run: number;
  readonly failed: readonly string[];
}

/** Every `stride`-th case, without those whose name has one of `except` in it. */
async function conformance(engine: string, stride: number, except: readonly string[]): Promise<Outcome> {
  const backend = await createBackend('tfjs', { engine });
  const cases = conformanceCases({ size: 'small' })
    .filter(({ name }) => except.every((part) => !name.includes(part)))
    .filter((_, i) => i % stride === 0);
  const results = await runCases(backend, cases);
  const { device } = backend;
  await backend.dispose();
  const failed = results
    .filter(({ status }) => status !== 'passed' && status !== 'not offered')
    .map((each) => `${each.case.name}: ${each.message}`);
  return { device, run: results.length, failed };
}

Object.assign(globalThis, { conformance });
