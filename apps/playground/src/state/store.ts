import { batch, computed, signal } from '@preact/signals';
import { DEFAULTS, type Settings } from '../engine/settings.ts';
import { type HeadView, normalised, type SideView, strongestHead } from '../engine/view.ts';
import type { Frame, Record } from '../record/format.ts';
import type { Device, Looked, ModelInfo } from '../worker/api.ts';

/** What the figure shows: the recorded run, a training on this machine, or a text in the models of both sides. */
export type Mode = 'replay' | 'live';

/** One head, by its place. */
export interface HeadPlace {
  readonly layer: number;
  readonly head: number;
}

export const settings = signal<Settings>(DEFAULTS);
export const mode = signal<Mode>('replay');
/** The recorded run; null until it has come. */
export const recording = signal<Record | null>(null);
/** The training on this machine; it grows. */
export const live = signal<Record | null>(null);
/** Which frame is shown; -1 is the last one. */
export const at = signal(0);
export const playing = signal(false);
/** The head that both sides show; null is the one that looks most at the first token in the end, on the left. */
export const chosenHead = signal<HeadPlace | null>(null);
/** Weights as they are, or each row divided by its sum. */
export const rows = signal<'raw' | 'normalised'>('raw');
/** The token whose row is looked at. */
export const row = signal<number | null>(null);
/** tau of the chosen head as the slider has it; null: as it was trained. */
export const tau = signal<number | null>(null);
/** Another text in the models, in place of the training's own. */
export const looked = signal<Looked | null>(null);
export const text = signal('');
/** Models that were opened, by side. */
export const opened = signal<readonly [ModelInfo | null, ModelInfo | null]>([null, null]);
export const device = signal<Device | null>(null);
export const milliseconds = signal(0);
export const training = signal<'none' | 'starting' | 'running' | 'paused' | 'done'>('none');
/** What went wrong, and what to do. */
export const problem = signal('');
/** What is going on, for those who wait and those who listen. */
export const status = signal('');

/** The training that is shown. */
export const shown = computed<Record | null>(() => (mode.value === 'live' ? live.value : recording.value));

/** The frame that is shown. */
export const frame = computed<Frame | null>(() => {
  const frames = shown.value?.frames ?? [];
  return (at.value < 0 ? frames.at(-1) : frames[Math.min(at.value, frames.length - 1)]) ?? null;
});

/** Kinds left and right, those of opened models first. */
export const kinds = computed<readonly [string, string]>(() => {
  const own = (shown.value?.settings ?? settings.value).kinds;
  return [opened.value[0]?.kind ?? own[0], opened.value[1]?.kind ?? own[1]];
});

/** What the heads do, left and right: on the text that is looked at, else in the frame. */
export const views = computed<readonly [SideView | null, SideView | null]>(() => {
  const look = looked.value;
  if (look !== null) return [look.sides[0]?.view ?? null, look.sides[1]?.view ?? null];
  return frame.value?.sides ?? [null, null];
});

/** Tokens left and right; two tokenizers may cut one text differently. */
export const tokens = computed<readonly [readonly string[], readonly string[]]>(() => {
  const look = looked.value;
  const own = shown.value?.tokens ?? [];
  return look === null ? [own, own] : [look.sides[0]?.tokens ?? [], look.sides[1]?.tokens ?? []];
});

/** The head that both sides show. */
export const headPlace = computed<HeadPlace>(() => {
  if (chosenHead.value !== null) return chosenHead.value;
  const last = looked.value === null ? shown.value?.frames.at(-1)?.sides[0] : views.value[0];
  const { layer, head } = last ? strongestHead(last) : { layer: 0, head: 0 };
  return { layer, head };
});

/** The shown head of a side; the one in its place where a side has fewer. */
export function headOf(view: SideView | null): HeadView | null {
  if (view === null) return null;
  const { layer, head } = headPlace.value;
  const found = view.heads.find((of) => of.layer === layer && of.head === head) ?? view.heads[0] ?? null;
  return found !== null && rows.value === 'normalised' ? { ...found, weights: normalised(found.weights) } : found;
}

/** The shown head whose tau the slider moves: that of the right side where both have one. Null where none has. */
export const tauHead = computed<HeadView | null>(
  () => views.value.map(headOf).findLast((head) => head !== null && head.tau !== null) ?? null,
);

/** Back to what the training itself shows. */
export function forgetText(): void {
  batch(() => {
    looked.value = null;
    tau.value = null;
    row.value = null;
  });
}
