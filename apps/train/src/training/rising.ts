import type { EvalMetric, TrainMetric } from '../run/metrics.ts';

/** Steps whose losses are averaged: single ones say little. */
const WINDOW = 50;
/** A mean counts as risen when it is above the best one by this share, and by this many standard errors. */
const SHARE = 0.03;
const ERRORS = 4;
/** So many means, or validation losses, in a row are no accident. */
const IN_A_ROW = 3;

/** Watches losses and says once, in one sentence, when the one that is learned rises, and once when the held-out one does. */
export function watchRising(say: (line: string) => void): {
  onStep(metric: TrainMetric): void;
  onEval(metric: EvalMetric): void;
} {
  const training = watchTraining();
  const validation = watchValidation();
  return {
    onStep: (metric) => {
      const line = training(metric);
      if (line !== null) say(line);
    },
    onEval: (metric) => {
      const line = validation(metric);
      if (line !== null) say(line);
    },
  };
}

function watchTraining(): (metric: TrainMetric) => string | null {
  let losses: number[] = [];
  let best = { mean: Number.POSITIVE_INFINITY, error: 0, step: 0 };
  let risen = 0;
  let said = false;
  return ({ step, loss, learningRate }) => {
    if (said) return null;
    losses.push(loss);
    if (losses.length < WINDOW) return null;
    const now = { ...spread(losses), step };
    losses = [];
    const margin = Math.max(SHARE * Math.abs(best.mean), ERRORS * Math.hypot(now.error, best.error));
    risen = now.mean > best.mean + margin ? risen + 1 : 0;
    if (now.mean < best.mean) best = now;
    if (risen < IN_A_ROW) return null;
    said = true;
    return (
      `Warning: the training loss rises: ${best.mean.toFixed(3)} up to step ${best.step}, ${now.mean.toFixed(3)} up to step ${step}, ` +
      `at learning rate ${learningRate.toPrecision(3)}. Try a smaller --lr or a longer --warmup.`
    );
  };
}

function watchValidation(): (metric: EvalMetric) => string | null {
  let best = { loss: Number.POSITIVE_INFINITY, step: 0 };
  let risen = 0;
  let said = false;
  return ({ step, on, loss }) => {
    if (said || on !== 'validation') return null;
    risen = loss > best.loss * (1 + SHARE) ? risen + 1 : 0;
    if (loss < best.loss) best = { loss, step };
    if (risen < IN_A_ROW) return null;
    said = true;
    return (
      `Warning: the validation loss rises: ${best.loss.toFixed(3)} at step ${best.step}, ${loss.toFixed(3)} at step ${step}. ` +
      'The model learns its training text by heart: take more text, a smaller --preset or fewer --steps.'
    );
  };
}

/** Mean and its standard error. */
function spread(values: readonly number[]): { mean: number; error: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  return { mean, error: Math.sqrt(variance / values.length) };
}
