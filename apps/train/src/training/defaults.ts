import type { PresetName } from '@lazy-attention/nn';

/** What `train` does when it is told nothing else. */
export interface TrainingDefaults {
  readonly steps: number;
  readonly batch: number;
  readonly learningRate: number;
}

/**
 * `pico` is sized for the reference backend and `nano` for two CPU cores: minutes each. `340m` and up are the paper's
 * sizes with its batch of half a million tokens split to what one GPU holds; they want a corpus and steps of their own.
 */
export const TRAINING_DEFAULTS: Readonly<Record<PresetName, TrainingDefaults>> = {
  'one-head': { steps: 2500, batch: 16, learningRate: 8e-3 },
  pico: { steps: 500, batch: 8, learningRate: 3e-3 },
  nano: { steps: 600, batch: 16, learningRate: 1e-3 },
  micro: { steps: 1200, batch: 16, learningRate: 1e-3 },
  small: { steps: 2000, batch: 16, learningRate: 6e-4 },
  '340m': { steps: 10_000, batch: 32, learningRate: 3e-4 },
  '760m': { steps: 10_000, batch: 32, learningRate: 3e-4 },
  '1.3b': { steps: 10_000, batch: 32, learningRate: 2e-4 },
};

/** For the synthetic tasks, where the preset is larger than `one-head`: enough for a copying head to grow. */
export const TASK_DEFAULTS: TrainingDefaults = { steps: 3000, batch: 16, learningRate: 3e-3 };

/** The model on which a synthetic task shows its sink: a single head, and no MLP that could undo what it blurs. */
export const TASK_PRESET: PresetName = 'one-head';

/** Tokens per sequence of a synthetic task. */
export const TASK_CONTEXT = 128;

/** For a run that starts from another model: fine-tuning of a small one in half an hour on two cores. */
export const FROM_DEFAULTS: TrainingDefaults = { steps: 300, batch: 4, learningRate: 1e-4 };

/** Tokens per sequence of a run that starts from another model, unless that model takes fewer. */
export const FROM_CONTEXT = 256;
