import { createBackend } from '@lazy-attention/core';
import { loadDataset } from '@lazy-attention/data';
import { lazyTransformer } from '@lazy-attention/nn';
import { expect, it } from 'vitest';
import type { RunRecord } from '../src/index.ts';
import { disposeSession, launchStep, newSession, settleStep } from '../src/training/session.ts';

/** A model so small that 2,000 steps take seconds; every op of a large one runs in each. */
const SMALL = { vocabSize: 256, hiddenSize: 8, numLayers: 1, numHeads: 2, context: 4, intermediateSize: 8 };

it('after 2,000 steps as many tensors and bytes are alive as after one', async () => {
  const dataset = await loadDataset('moby-dick', { context: 4 });
  const record = {
    model: lazyTransformer(SMALL).config,
    training: {
      steps: 2000,
      batch: 1,
      learningRate: 1e-3,
      warmupSteps: 10,
      floor: 0.1,
      weightDecay: 0.1,
      maxNorm: 1,
      seed: 0,
    },
  } as RunRecord;
  const backend = await createBackend('reference');
  const session = await newSession(backend, record, dataset);
  await settleStep(await launchStep(session));
  const { tensors, bytes } = backend.memory();
  while (session.step < 2000) await settleStep(await launchStep(session));
  expect(backend.memory()).toMatchObject({ tensors, bytes });
  disposeSession(session);
  expect(backend.memory()).toMatchObject({ tensors: 0, bytes: 0 });
  await backend.dispose();
});
