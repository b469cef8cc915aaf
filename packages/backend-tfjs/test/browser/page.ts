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

/** Every `stride`-th case. */
async function conformance(engine: string, stride: number): Promise<Outcome> {
  const backend = await createBackend('tfjs', { engine });
  const cases = conformanceCases({ size: 'small' }).filter((_, i) => i % stride === 0);
  const results = await runCases(backend, cases);
  const { device } = backend;
  await backend.dispose();
  const failed = results
    .filter(({ status }) => status !== 'passed')
    .map((each) => `${each.case.name}: ${each.message}`);
  return { device, run: results.length, failed };
}

Object.assign(globalThis, { conformance });
