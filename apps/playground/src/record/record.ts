import type { Backend } from '@lazy-attention/core';
import { type DataFiles, trainingData } from '../engine/dataset.ts';
import { measure, measuredTokens } from '../engine/look.ts';
import { newSession, stepBoth } from '../engine/session.ts';
import type { Settings } from '../engine/settings.ts';
import { shownToken } from '../engine/tokens.ts';
import type { Frame, Record } from './format.ts';

/** Tokens of the text that a training shows the maps of. */
export const MAP_ROWS = 40;
/** Steps between two losses of a record. */
const LOSS_EVERY = 10;

/** When a record looks at the heads: often at first, since most happens early. */
export function frameSteps(steps: number, frames = 28): number[] {
  const at = Array.from({ length: frames }, (_, i) => Math.round(steps * (i / (frames - 1)) ** 1.6));
  return [...new Set(at)];
}

/** Trains both sides and keeps what the page replays, and the trained weights in the caller's hands until `done`. */
export async function recordRun(
  backend: Backend,
  settings: Settings,
  files: DataFiles,
  say: (line: string) => void,
  done: (sides: readonly ReturnType<typeof newSession>[]) => Promise<void>,
): Promise<Record> {
  const data = await trainingData(settings, files);
  const sides = ([0, 1] as const).map((side) => newSession(backend, settings, side, data));
  const wanted = new Set(frameSteps(settings.steps));
  const frames: Frame[] = [];
  const losses: { steps: number[]; values: [number[], number[]] } = { steps: [], values: [[], []] };
  const look = async (step: number) => {
    const views = [];
    for (const side of sides) views.push(await measure(backend, side, data, MAP_ROWS));
    frames.push({ step, sides: views as unknown as Frame['sides'] });
    say(
      `${step}: ${views.map((view) => view?.heads.map((head) => head.firstTokenWeight.toFixed(3)).join(' ')).join(' | ')}`,
    );
  };
  await look(0);
  for (let step = 1; step <= settings.steps; step++) {
    const [left, right] = (await stepBoth(sides)) as [number, number];
    if (step === 1 || step % LOSS_EVERY === 0) {
      losses.steps.push(step);
      losses.values[0].push(Number(left.toFixed(4)));
      losses.values[1].push(Number(right.toFixed(4)));
    }
    if (wanted.has(step)) await look(step);
  }
  await done(sides);
  for (const side of sides) side.dispose();
  const ids = [...measuredTokens(settings.context, data, MAP_ROWS)];
  const tokens = ids.map((id) => shownToken(data.tokenizer, id));
  return { settings, ids, tokens, losses, frames };
}
