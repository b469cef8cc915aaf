import { batch } from '@preact/signals';
import { proxy, type Remote, wrap } from 'comlink';
import { unpacked } from '../engine/unpack.ts';
import { decodeRecord, type Frame, type Record } from '../record/format.ts';
import type { Engine, EngineChoice } from '../worker/api.ts';
import { wantedStep } from './link.ts';
import * as store from './store.ts';

let worker: Remote<Engine> | null = null;
/** What the models on the worker's sides are of. */
let loaded: 'none' | 'recorded' | 'training' | 'opened' = 'none';

/** The worker, started when something has to be computed. */
function engine(): Remote<Engine> {
  worker ??= wrap<Engine>(new Worker(new URL('../worker/worker.ts', import.meta.url), { type: 'module' }));
  return worker;
}

/** Runs work and shows what goes wrong as a sentence; the page lives on. Null after a failure. */
async function trying<T>(what: string, work: () => Promise<T>): Promise<T | null> {
  batch(() => {
    store.problem.value = '';
    store.status.value = what;
  });
  try {
    return await work();
  } catch (error) {
    store.problem.value = error instanceof Error ? error.message : String(error);
    if (/GPU was lost/.test(store.problem.value)) loaded = 'none';
    return null;
  } finally {
    store.status.value = '';
  }
}

/** The recorded run, from the page's own files. */
export async function loadRecording(): Promise<void> {
  await trying('Loading the recording', async () => {
    const response = await fetch(new URL('record/run.bin.gz', document.baseURI)).catch(() => null);
    if (!response?.ok) {
      throw new Error('The recording could not be loaded. Reload the page, or train here.');
    }
    const record = decodeRecord(await unpacked(response));
    batch(() => {
      store.recording.value = record;
      const wanted = wantedStep.value;
      const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
      store.at.value = wanted === null ? (still ? record.frames.length - 1 : 0) : nearest(record.frames, wanted);
      store.playing.value = wanted === null && !still;
    });
  });
}

function nearest(frames: readonly Frame[], step: number): number {
  return frames.reduce(
    (best, frame, i) => (Math.abs(frame.step - step) < Math.abs((frames[best] as Frame).step - step) ? i : best),
    0,
  );
}

/** Opens an engine and says which. */
async function startEngine(choice: EngineChoice = 'auto'): Promise<void> {
  store.device.value = await engine().start(choice);
}

/** Trains both sides here, from the beginning. */
export async function train(choice: EngineChoice = 'auto'): Promise<void> {
  const settings = store.settings.value;
  await trying('Starting the training', async () => {
    store.training.value = 'starting';
    store.forgetText();
    store.opened.value = [null, null];
    try {
      await startEngine(choice);
      const frames: Frame[] = [];
      const losses: Record['losses'] & { steps: number[]; values: [number[], number[]] } = {
        steps: [],
        values: [[], []],
      };
      let started: { ids: readonly number[]; tokens: readonly string[] } = { ids: [], tokens: [] };
      const show = () => {
        store.live.value = { settings, ...started, losses: { ...losses }, frames: [...frames] };
      };
      started = await engine().train(
        settings,
        proxy({
          step(step: number, [left, right]: readonly [number, number], milliseconds: number) {
            losses.steps.push(step);
            losses.values[0].push(left);
            losses.values[1].push(right);
            batch(() => {
              store.milliseconds.value = milliseconds;
              show();
            });
          },
          frame(frame: Frame) {
            frames.push(frame);
            show();
          },
          ended(problem: string) {
            batch(() => {
              store.problem.value = problem;
              store.training.value = problem === '' ? 'done' : 'none';
              if (problem !== '') loaded = 'none';
            });
          },
        }),
      );
      loaded = 'training';
      batch(() => {
        show();
        store.chosenHead.value = null;
        store.mode.value = 'live';
        store.at.value = -1;
        store.playing.value = false;
        store.training.value = 'running';
      });
      if (!document.hidden) await engine().resume();
    } catch (error) {
      store.training.value = 'none';
      throw error;
    }
  });
}

export async function pause(): Promise<void> {
  store.training.value = 'paused';
  await trying('', () => engine().pause());
}

export async function resume(): Promise<void> {
  store.training.value = 'running';
  store.at.value = -1;
  await trying('', () => engine().resume());
}

export async function single(): Promise<void> {
  store.training.value = 'paused';
  await trying('', () => engine().single());
}

// A hidden tab computes nothing.
document.addEventListener('visibilitychange', () => {
  if (store.training.value !== 'running') return;
  void (document.hidden ? engine().pause() : engine().resume());
});

/** Back to the recording. */
export function showRecording(): void {
  if (store.training.value === 'running') void pause();
  store.forgetText();
  batch(() => {
    store.opened.value = [null, null];
    store.mode.value = 'replay';
    store.at.value = 0;
    store.playing.value = true;
    store.chosenHead.value = null;
  });
}

/** Both models of what is shown, ready to be looked into. */
async function prepareModels(): Promise<void> {
  if (store.device.value === null) await startEngine();
  if (store.opened.value.some((model) => model !== null) && loaded === 'opened') return;
  if (store.mode.value === 'live' && loaded === 'training') return;
  if (loaded === 'recorded') return;
  const { kinds } = store.recording.value?.settings ?? store.settings.value;
  await engine().useRecorded(kinds);
  loaded = 'recorded';
}

let asking = 0;

/** Looks at the text, or with an empty one at the training's own, with the slider's tau. */
export async function look(): Promise<void> {
  const mine = ++asking;
  await trying('Looking', async () => {
    await prepareModels();
    const { layer, head } = store.tauHead.value ?? store.headPlace.value;
    const change = store.tau.value === null ? null : { layer, head, value: store.tau.value };
    const input = store.text.value === '' ? (store.shown.value?.ids ?? []) : store.text.value;
    const found = await engine().look(input, change);
    if (mine === asking) store.looked.value = found;
  });
}

let waiting: ReturnType<typeof setTimeout> | undefined;

/** Moves tau of the shown head; the map follows. */
export function moveTau(value: number | null): void {
  store.tau.value = value;
  clearTimeout(waiting);
  waiting = setTimeout(() => void look(), 30);
}

/** Opens a model on one side and looks at the text in it. */
export async function open(side: 0 | 1, files: Readonly<{ [name: string]: Blob }>, name: string): Promise<boolean> {
  const done = await trying(`Opening ${name}`, async () => {
    await startEngine();
    if (loaded === 'none') await prepareModels();
    const info = await engine().open(side, files, name);
    if (store.training.value !== 'none') store.training.value = 'none';
    loaded = 'opened';
    batch(() => {
      store.opened.value = side === 0 ? [info, store.opened.value[1]] : [store.opened.value[0], info];
      store.chosenHead.value = null;
      store.tau.value = null;
      store.playing.value = false;
      store.text.value = readable(store.text.value, info.hasTokenizer);
    });
    store.looked.value = await engine().look(store.text.value, null);
    return true;
  });
  return done === true;
}

/** The text, or where the opened model could not read it one that it can. */
function readable(text: string, hasTokenizer: boolean): string {
  if (hasTokenizer) return text === '' || text === STARTING_IDS ? SENTENCE : text;
  return /^[\d\s,]*\d[\d\s,]*$/.test(text) ? text : STARTING_IDS;
}

const SENTENCE =
  'Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail about a little.';
/** What stories260K begins a story with; other models without tokenizer take it too. */
const STARTING_IDS = '1 403 407 261 378 432 383 261 378 393 266 259 401 432 410 268 396 267 270';

/** Writes on from the text, piece by piece. */
export async function write(side: 0 | 1, prompt: string, more: (piece: string) => void): Promise<void> {
  await trying('Writing', async () => {
    await prepareModels();
    await engine().generate(side, prompt, 120, proxy(more));
  });
}

/** The weights of a side as a safetensors file. */
export async function weights(side: 0 | 1): Promise<Uint8Array | null> {
  return trying('Reading the weights', async () => {
    await prepareModels();
    return engine().weights(side);
  });
}
