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

/** Every `stride`-th case and those with one of `always` in their name, without those that have one of `except` in it. */
async function conformance(
  engine: string,
  stride: number,
  except: readonly string[],
  always: readonly string[],
): Promise<Outcome> {
  const backend = await createBackend('tfjs', { engine });
  const cases = conformanceCases({ size: 'small' })
    .filter(({ name }) => except.every((part) => !name.includes(part)))
    .filter(({ name }, i) => i % stride === 0 || always.some((part) => name.includes(part)));
  const results = await runCases(backend, cases);
  const { device } = backend;
  await backend.dispose();
  const failed = results
    .filter(({ status }) => status !== 'passed' && status !== 'not offered')
    .map((each) => `${each.case.name}: ${each.message}`);
  return { device, run: results.length, failed };
}

Object.assign(globalThis, { conformance });
