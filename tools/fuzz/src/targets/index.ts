import { EVALUATION_TARGETS } from './evaluation.ts';
import { MODEL_TARGETS } from './models.ts';
import { opsTarget } from './ops.ts';
import { RUN_TARGETS } from './runs.ts';
import type { Target } from './target.ts';
import { TEXT_TARGETS } from './texts.ts';

/** Everything that takes input from outside, by name. */
export const TARGETS: readonly Target[] = [
  ...TEXT_TARGETS,
  ...EVALUATION_TARGETS,
  ...MODEL_TARGETS,
  ...RUN_TARGETS,
  opsTarget('reference'),
  opsTarget('cpu'),
];
