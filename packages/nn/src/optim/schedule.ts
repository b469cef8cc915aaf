import { ValueError } from '@lazy-attention/core';

/** Learning rate by step. */
export interface CosineScheduleOptions {
  /** Learning rate at the end of the warm-up. */
  readonly peak: number;
  /** Steps of linear warm-up; 0 for none. Default 0. */
  readonly warmupSteps?: number;
  /** Step at which the floor is reached; it stays there. */
  readonly steps: number;
  /** Share of the peak that is left at the end. Default 0.1. */
  readonly floor?: number;
}

/**
 * Learning rate by step, counted from 1: peak * step / warmupSteps up to warmupSteps, then half a cosine from peak down
 * to floor * peak at `steps`. A pure function of the step, so resuming needs no state but these options.
 */
export function cosineSchedule(options: CosineScheduleOptions): (step: number) => number {
  const { peak, warmupSteps = 0, steps, floor = 0.1 } = options;
  if (!(peak > 0 && Number.isFinite(peak)))
    throw new ValueError(`cosineSchedule: peak is ${peak}; expected a positive number`);
  if (!Number.isSafeInteger(steps) || steps < 1) {
    throw new ValueError(`cosineSchedule: steps is ${steps}; expected a positive integer`);
  }
  if (!Number.isSafeInteger(warmupSteps) || warmupSteps < 0 || warmupSteps > steps) {
    throw new ValueError(
      `cosineSchedule: warmupSteps is ${warmupSteps}; expected an integer from 0 to steps (${steps})`,
    );
  }
  if (!(floor >= 0 && floor <= 1)) throw new ValueError(`cosineSchedule: floor is ${floor}; expected 0 to 1`);
  return (step) => {
    if (!Number.isSafeInteger(step) || step < 1) {
      throw new ValueError(`cosineSchedule: step is ${step}; expected an integer from 1`);
    }
    if (step <= warmupSteps) return (peak * step) / warmupSteps;
    if (step >= steps) return peak * floor;
    const progress = (step - warmupSteps) / (steps - warmupSteps);
    return peak * (floor + ((1 - floor) * (1 + Math.cos(Math.PI * progress))) / 2);
  };
}
