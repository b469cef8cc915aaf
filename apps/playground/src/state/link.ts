import { batch } from '@preact/signals';
import lz from 'lz-string';
import { DEFAULTS, PAGE_PRESETS, type Settings } from '../engine/settings.ts';
import { kindOf } from './kinds.ts';
import { at, chosenHead, mode, rows, settings, shown, tau, text } from './store.ts';
import { chosenTheme } from './theme.ts';

/** What a link holds: only what differs from a fresh page. */
interface Shared {
  readonly settings?: Partial<Settings>;
  readonly text?: string;
  readonly head?: { readonly layer: number; readonly head: number };
  readonly step?: number;
  readonly rows?: 'normalised';
  readonly tau?: number;
  readonly theme?: 'light' | 'dark';
}

/** The page as a hash, '' for a fresh one. */
export function toHash(): string {
  const changed = Object.entries(settings.value).filter(
    ([name, value]) => JSON.stringify(value) !== JSON.stringify(DEFAULTS[name as keyof Settings]),
  );
  const frames = shown.value?.frames ?? [];
  const step = mode.value === 'replay' ? frames[at.value < 0 ? frames.length - 1 : at.value]?.step : undefined;
  const shared: Shared = {
    ...(changed.length > 0 ? { settings: Object.fromEntries(changed) } : {}),
    ...(text.value === '' ? {} : { text: text.value }),
    ...(chosenHead.value === null ? {} : { head: chosenHead.value }),
    ...(step === undefined ? {} : { step }),
    ...(rows.value === 'raw' ? {} : { rows: rows.value }),
    ...(tau.value === null ? {} : { tau: tau.value }),
    ...(chosenTheme.value === null ? {} : { theme: chosenTheme.value }),
  };
  return Object.keys(shared).length === 0 ? '' : `#${lz.compressToEncodedURIComponent(JSON.stringify(shared))}`;
}

/** Takes a link's state; false where there is none, or none that can be read. Nothing of it is trusted. */
export function fromHash(hash: string): boolean {
  if (hash.length < 2) return false;
  let found: Shared;
  try {
    found = JSON.parse(lz.decompressFromEncodedURIComponent(hash.slice(1)) ?? '') as Shared;
  } catch {
    return false;
  }
  if (typeof found !== 'object' || found === null) return false;
  batch(() => {
    settings.value = { ...DEFAULTS, ...checkedSettings(found.settings ?? {}) };
    if (typeof found.text === 'string') text.value = found.text.slice(0, 20_000);
    const { head } = found;
    if (isCount(head?.layer) && isCount(head?.head)) chosenHead.value = { layer: head.layer, head: head.head };
    if (found.rows === 'normalised') rows.value = 'normalised';
    if (typeof found.tau === 'number' && Number.isFinite(found.tau)) tau.value = found.tau;
    if (found.theme === 'light' || found.theme === 'dark') chosenTheme.value = found.theme;
    wantedStep.value = isCount(found.step) ? found.step : null;
  });
  return true;
}

/** The step that a link asks for; it is gone to when the recording has come. */
export const wantedStep: { value: number | null } = { value: null };

function isCount(x: unknown): x is number {
  return Number.isSafeInteger(x) && (x as number) >= 0;
}

function checkedSettings(given: Partial<Settings>): Partial<Settings> {
  const good: { -readonly [name in keyof Settings]?: unknown } = {};
  const { task, preset, kinds, learningRate } = given;
  if (task === 'bigram-backcopy' || task === 'book' || task === 'text') good.task = task;
  if (typeof given.text === 'string') good.text = given.text.slice(0, 200_000);
  if (PAGE_PRESETS.some((name) => name === preset)) good.preset = preset;
  for (const name of ['context', 'batch', 'seed', 'steps'] as const) {
    if (isCount(given[name]) && (given[name] as number) <= LIMITS[name]) good[name] = given[name];
  }
  if (typeof learningRate === 'number' && learningRate > 0 && learningRate < 1) good.learningRate = learningRate;
  if (Array.isArray(kinds) && kinds.length === 2 && kinds.every((kind) => kindOf(kind) !== undefined))
    good.kinds = kinds;
  return good as Partial<Settings>;
}

/** Largest values of a page's settings. */
export const LIMITS = { context: 1024, batch: 128, seed: 1e6, steps: 1e5 } as const;
