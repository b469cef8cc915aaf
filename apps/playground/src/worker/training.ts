import type { Backend } from '@lazy-attention/core';
import type { TrainingData } from '../engine/dataset.ts';
import { measure } from '../engine/look.ts';
import { newSession, type Session, stepBoth } from '../engine/session.ts';
import type { Settings } from '../engine/settings.ts';
import type { Frame } from '../record/format.ts';
import { frameSteps, MAP_ROWS } from '../record/record.ts';
import type { TrainingEvents } from './api.ts';

/** Milliseconds between two messages to the page. */
const TELL = 120;
/** Milliseconds of a window over which the time of a step is averaged. */
const WINDOW = 20;

/** A training of both sides that can be held and let go. */
export interface Training {
  readonly sides: readonly [Session, Session];
  readonly data: TrainingData;
  pause(): void;
  resume(): void;
  single(): void;
  stop(): Promise<void>;
}

/** Starts a training, paused; every problem ends it and is told. */
export function startTraining(
  backend: Backend,
  settings: Settings,
  data: TrainingData,
  events: TrainingEvents,
  explain: (error: unknown) => string,
): Training {
  const sides = ([0, 1] as const).map((side) => newSession(backend, settings, side, data)) as [Session, Session];
  // Frames at the steps of the recording, and at least every 10: whoever trains here wants to see it.
  const wanted = new Set(frameSteps(settings.steps));
  const isFrame = (step: number) => wanted.has(step) || step % 10 === 0;
  let left = 0;
  let stopped = false;
  let wake: () => void = () => {};
  const times: number[] = [];
  let told = 0;

  let looking = { took: 0, ended: 0 };

  const frame = async (): Promise<void> => {
    const began = performance.now();
    const views: Frame['sides'][number][] = [];
    for (const side of sides) views.push(await measure(backend, side, data, MAP_ROWS));
    events.frame({ step: sides[0].step, sides: [views[0] ?? null, views[1] ?? null] });
    looking = { took: performance.now() - began, ended: performance.now() };
  };
  const run = async (): Promise<string> => {
    await frame();
    for (let step = 1; step <= settings.steps && !stopped; step++) {
      while (left === 0 && !stopped)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      if (stopped) return '';
      left--;
      const began = performance.now();
      const losses = (await stepBoth(sides)) as [number, number];
      times.push(performance.now() - began);
      if (times.length > WINDOW) times.shift();
      if (performance.now() - told > TELL || left === 0 || step <= 50) {
        told = performance.now();
        events.step(step, losses, times.reduce((sum, time) => sum + time, 0) / times.length);
      }
      // Looking takes a third of the time at most.
      const due = performance.now() - looking.ended > 2 * looking.took;
      if ((isFrame(step) && due) || step === settings.steps) await frame();
      // Messages of the page get their turn.
      await new Promise((resolve) => setTimeout(resolve));
    }
    return '';
  };
  const ended = run()
    .catch(explain)
    .then((problem) => {
      if (!stopped) events.ended(problem);
    });

  return {
    sides,
    data,
    pause() {
      left = 0;
    },
    resume() {
      left = Number.POSITIVE_INFINITY;
      wake();
    },
    single() {
      left = 1;
      wake();
    },
    async stop() {
      stopped = true;
      wake();
      await ended;
      for (const side of sides) side.dispose();
    },
  };
}
