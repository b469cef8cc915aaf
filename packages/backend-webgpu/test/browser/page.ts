/** Runs in a browser, against the built package: conformance and a short training, for browser.test.ts. */
import { provider as reference } from '@lazy-attention/backend-reference';
import { provider } from '@lazy-attention/backend-webgpu';
import { conformanceCases, runCases } from '@lazy-attention/conformance';
import { Backend, type FloatDType } from '@lazy-attention/core';
import { functionErrors } from '../functions.ts';
import { hiddenNumbers } from '../not-a-number.ts';
import { train } from '../train.ts';

export interface Outcome {
  readonly dtypes: readonly FloatDType[];
  /** Names of the cases that were run. */
  readonly run: readonly string[];
  /** Name and message of those that failed. */
  readonly failed: readonly string[];
}

let tested: Backend | undefined;

/** The backend that the suite runs on, one for the page. */
async function backend(): Promise<Backend> {
  tested ??= new Backend(await provider.create({}));
  return tested;
}

/** The suite's cases of one op (or 'errors', or 'memory'), for every type that the adapter has. */
async function conformance(op: string): Promise<Outcome> {
  const on = await backend();
  const dtypes: FloatDType[] = on.dtypes.has('f16') ? ['f32', 'f16'] : ['f32'];
  const cases = conformanceCases({ size: 'small', dtypes }).filter((each) => each.op === op);
  const results = await runCases(on, cases);
  const failed = results.filter(({ status }) => status !== 'passed' && status !== 'not offered');
  return {
    dtypes,
    run: results.map((result) => result.case.name),
    failed: failed.map((result) => `${result.case.name}: ${result.message}`),
  };
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

/** spec §Not a number: results that hide a NaN. */
async function hidden(): Promise<string[]> {
  const oracle = new Backend(await reference.create({}));
  const found = await hiddenNumbers(await backend(), oracle);
  await oracle.dispose();
  return found;
}

/** Largest errors of the primitives' functions. */
async function errors(): Promise<Record<string, number>> {
  const oracle = new Backend(await reference.create({}));
  const found = await functionErrors(await backend(), oracle);
  await oracle.dispose();
  return found;
}

const device = async (): Promise<string> => (await backend()).device;

Object.assign(globalThis, { page: { device, conformance, training, hidden, errors } });
