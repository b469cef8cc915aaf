/** Runs in a browser, against the built package: conformance and a short training, for browser.test.ts. */
import { provider as reference } from '@lazy-attention/backend-reference';
import { provider } from '@lazy-attention/backend-webgpu';
import { conformanceCases, runCases } from '@lazy-attention/conformance';
import { Backend } from '@lazy-attention/core';
import { train } from '../train.ts';

export interface Outcome {
  readonly device: string;
  readonly run: number;
  readonly failed: readonly string[];
}

/** Every `stride`-th case of the suite. */
async function conformance(stride: number): Promise<Outcome> {
  const backend = new Backend(await provider.create({}));
  const dtypes = backend.dtypes.has('f16') ? (['f32', 'f16'] as const) : (['f32'] as const);
  const cases = conformanceCases({ size: 'small', dtypes }).filter((_, i) => i % stride === 0);
  const results = await runCases(backend, cases);
  const { device } = backend;
  await backend.dispose();
  const failed = results
    .filter(({ status }) => status !== 'passed')
    .map((each) => `${each.case.name}: ${each.message}`);
  return { device, run: results.length, failed };
}

/** Losses of a few steps of a tiny model, here and on the reference. */
async function training(steps: number): Promise<{ losses: number[]; expected: number[] }> {
  const options = { vocabSize: 32, hiddenSize: 16, numLayers: 1, numHeads: 2, context: 16, intermediateSize: 32 };
  const [webgpu, oracle] = [new Backend(await provider.create({})), new Backend(await reference.create({}))];
  const outcome = {
    losses: await train(webgpu, options, steps),
    expected: await train(oracle, options, steps),
  };
  await webgpu.dispose();
  await oracle.dispose();
  return outcome;
}

Object.assign(globalThis, { page: { conformance, training } });
