import type { Scenario } from './scenario.ts';
import { adamw } from './suites/adamw.ts';
import { attention } from './suites/attention.ts';
import { crossEntropy } from './suites/cross-entropy.ts';
import { elasticSoftmax } from './suites/elastic-softmax.ts';
import { elementwise } from './suites/elementwise.ts';
import { embedding, rmsNorm, rope, swiglu } from './suites/layers.ts';
import { matmul } from './suites/matmul.ts';
import { primitives } from './suites/primitives.ts';
import { rearrangements } from './suites/rearrangements.ts';
import { reductions } from './suites/reductions.ts';
import { storage } from './suites/storage.ts';

/** Every source of problems, op by op. */
export const scenarios: readonly Scenario[] = [
  ...storage,
  ...elementwise,
  ...matmul,
  ...rmsNorm,
  ...rope,
  ...attention,
  ...elasticSoftmax,
  ...swiglu,
  ...embedding,
  ...crossEntropy,
  ...adamw,
  ...primitives,
  ...reductions,
  ...rearrangements,
];
