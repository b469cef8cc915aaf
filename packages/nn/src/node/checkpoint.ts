import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Backend, formatShape, ValueError } from '@lazy-attention/core';
import { CheckpointError, ConfigError } from '../errors.ts';
import type { LazyTransformerConfig, LazyTransformerOptions } from '../model/config.ts';
import { type LazyTransformer, lazyTransformer } from '../model/transformer.ts';
import type { AdamWState } from '../optim/adamw.ts';
import type { Params } from '../params.ts';
import {
  type FileDigest,
  isSystemError,
  makeFolder,
  openRegular,
  readChecked,
  renameDurably,
  saving,
  syncFolder,
  writeDurably,
} from './files.ts';
import { checkJson, decodeManifest, encodeManifest, type Json, type Manifest } from './manifest.ts';
import { readTensors, tensorBytes } from './tensors.ts';

/** What `saveCheckpoint` writes. */
export interface CheckpointContents {
  /** What the parameters are of. */
  readonly model: LazyTransformer;
  /** All of the model. */
  readonly params: Params;
  /** The optimiser, or its state; left out or null: a checkpoint for inference only. */
  readonly optimizer?: { state(): AdamWState } | null | undefined;
  /** Steps that the run has taken. */
  readonly step: number;
  /** What else the run needs to go on: JSON of the caller's own. Default null. */
  readonly state?: Json | undefined;
  /** Checkpoints to leave in the folder, this one included; older ones go. Default 2. */
  readonly keep?: number | undefined;
}

/** What `loadCheckpoint` read. */
export interface LoadedCheckpoint {
  /** The folder that was read. */
  readonly path: string;
  /** Steps that the run had taken. */
  readonly step: number;
  /** Of the model, with every default filled in. */
  readonly config: LazyTransformerConfig;
  /** The caller disposes them. */
  readonly params: Params;
  /** For `adamW(backend, params, { state })`, which owns its tensors then; null when there is none or it was not wanted. */
  readonly optimizer: AdamWState | null;
  /** What the run had left there. */
  readonly state: Json;
}

/** Of `loadCheckpoint`. */
export interface LoadOptions {
  /** Refuse a checkpoint of any other shape than this model's. */
  readonly model?: LazyTransformer | undefined;
  /** False leaves the optimiser's state, two thirds of the bytes, on the disk. Default true. */
  readonly optimizer?: boolean | undefined;
}

const MODEL = 'model.safetensors';
const OPTIMIZER = 'optimizer.safetensors';
const CONFIG = 'config.json';
const MANIFEST = 'checkpoint.json';
const OWN_FILES: readonly string[] = [MODEL, OPTIMIZER, CONFIG, MANIFEST];
const TEMPORARY = '.tmp-';
const NAME = /^step-(\d{8,})(?:\.(\d+))?$/;

/**
 * Saves a run as a new folder `step-<step>` in `folder` and returns its path. All files are written and fsynced in a folder
 * of another name, which is then renamed: whoever looks sees a whole checkpoint or none, whenever the process or the
 * machine dies. Saving a step again adds `.1` and removes the earlier one. One process may write to a folder.
 *
 * @throws CheckpointError CHECKPOINT_WRITE when the disk is full, a value is not finite or `state` is no JSON; what was
 *   there before is still there
 */
export async function saveCheckpoint(folder: string, contents: CheckpointContents): Promise<string> {
  const { model, params, optimizer = null, step, state = null, keep = 2 } = contents;
  if (!Number.isSafeInteger(step) || step < 0)
    throw new ValueError(`saveCheckpoint: step is ${step}; expected an integer from 0`);
  if (keep !== Number.POSITIVE_INFINITY && (!Number.isSafeInteger(keep) || keep < 1)) {
    throw new ValueError(`saveCheckpoint: keep is ${keep}; expected a positive integer`);
  }
  checkParams(folder, model, params);
  checkJson(folder, state);
  const name = `step-${String(step).padStart(8, '0')}`;
  // A name of its own: what is left under another's may hold files that are not ours.
  const temporary = join(folder, `${TEMPORARY}${name}-${randomBytes(4).toString('hex')}`);
  const earlier = await saving(join(folder, name), temporary, async () => {
    await makeFolder(folder);
    await removeLeftovers(folder);
    await mkdir(temporary);
    const optimizerState = optimizer?.state() ?? null;
    const files: Record<string, FileDigest> = {};
    const write = async (file: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) => {
      files[file] = await writeDurably(join(temporary, file), chunks);
    };
    await write(CONFIG, [new TextEncoder().encode(`${JSON.stringify(model.config, null, 2)}\n`)]);
    await write(MODEL, tensorBytes(join(folder, name, MODEL), params, { format: 'pt' }));
    if (optimizerState !== null) {
      await write(OPTIMIZER, tensorBytes(join(folder, name, OPTIMIZER), joinMoments(optimizerState)));
    }
    const manifest: Manifest = { step, optimizer: optimizerState && { steps: optimizerState.steps }, files, state };
    await writeDurably(join(temporary, MANIFEST), [encodeManifest(manifest)]);
    await syncFolder(temporary);

    const earlier = await entries(folder);
    await renameDurably(temporary, pathOf(folder, name, step, earlier));
    return earlier;
  });
  const path = pathOf(folder, name, step, earlier);
  await prune(folder, path, earlier, step, keep);
  return path;
}

/**
 * Reads the checkpoint in the folder `path` and checks everything: format version, sizes, SHA-256 of every file, names and shapes.
 * @throws CheckpointError CHECKPOINT_MISSING, CHECKPOINT_READ, CHECKPOINT_CORRUPT, CHECKPOINT_SHAPE or CHECKPOINT_VERSION; of
 *   a damaged one it names the newest whole one before it
 */
export async function loadCheckpoint(
  backend: Backend,
  path: string,
  options: LoadOptions = {},
): Promise<LoadedCheckpoint> {
  return namingWhole(path, () => readCheckpoint(backend, path, options));
}

/**
 * What a checkpoint says of itself, without its tensors: steps that the run had taken, and what it had left there.
 * @throws CheckpointError as `loadCheckpoint`
 */
export async function checkpointState(path: string): Promise<Pick<LoadedCheckpoint, 'step' | 'state'>> {
  const manifestPath = join(path, MANIFEST);
  const read = async () => decodeManifest(manifestPath, await readChecked(manifestPath));
  const { step, state } = await namingWhole(path, read);
  return { step, state };
}

/** What `read` makes of the checkpoint `path`; an error that says it is damaged names the newest whole one before it. */
async function namingWhole<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    if (error.code !== 'CHECKPOINT_CORRUPT' && error.code !== 'CHECKPOINT_MISSING') throw error;
    const whole = await wholeBefore(path);
    if (whole === null) throw error;
    const why = error.message.slice(`${error.path}: `.length);
    throw new CheckpointError(
      error.code,
      error.path,
      `${why}; ${basename(whole)} before it is whole: move ${path} away to go on from there`,
      { cause: error },
    );
  }
}

/** The newest checkpoint before `path`, in the same folder, whose every file is what its manifest says; null without. */
async function wholeBefore(path: string): Promise<string | null> {
  const folder = dirname(path);
  const names = await entries(folder).then<string[], string[]>(
    (found) => found.map(({ name }) => name),
    () => [], // the first error says why
  );
  for (const name of names.slice(0, Math.max(0, names.indexOf(basename(path)))).reverse()) {
    if (await isWhole(join(folder, name))) return join(folder, name);
  }
  return null;
}

async function isWhole(path: string): Promise<boolean> {
  try {
    const manifestPath = join(path, MANIFEST);
    const { files } = decodeManifest(manifestPath, await readChecked(manifestPath));
    for (const file of OWN_FILES) {
      if (files[file] === undefined) continue;
      const hash = createHash('sha256');
      const handle = await openRegular(join(path, file));
      try {
        for await (const chunk of handle.createReadStream({ autoClose: false })) hash.update(chunk);
      } finally {
        await handle.close();
      }
      if (hash.digest('hex') !== files[file].sha256) return false;
    }
    return files[MODEL] !== undefined && files[CONFIG] !== undefined;
  } catch (error) {
    if (error instanceof CheckpointError || isSystemError(error)) return false;
    throw error;
  }
}

async function readCheckpoint(backend: Backend, path: string, options: LoadOptions): Promise<LoadedCheckpoint> {
  const { model: expected, optimizer: wantOptimizer = true } = options;
  const manifestPath = join(path, MANIFEST);
  const manifest = decodeManifest(manifestPath, await readChecked(manifestPath));
  const digest = (file: string): FileDigest => {
    const found = manifest.files[file];
    if (found === undefined) throw new CheckpointError('CHECKPOINT_CORRUPT', manifestPath, `does not list ${file}`);
    return found;
  };
  const model = await readModel(join(path, CONFIG), digest(CONFIG));
  if (expected !== undefined) checkSameModel(path, model, expected);
  const params = await readTensors(backend, join(path, MODEL), model.shapes, digest(MODEL));
  const { step, state } = manifest;
  const loaded = { path, step, config: model.config, params, state };
  if (manifest.optimizer === null || !wantOptimizer) return { ...loaded, optimizer: null };
  try {
    const moments = await readTensors(backend, join(path, OPTIMIZER), momentShapes(model), digest(OPTIMIZER));
    return { ...loaded, optimizer: { steps: manifest.optimizer.steps, ...splitMoments(model, moments) } };
  } catch (error) {
    for (const tensor of Object.values(params)) tensor.dispose();
    throw error;
  }
}

/** Paths of the checkpoints in `folder`, oldest first; none when there is no such folder. */
export async function listCheckpoints(folder: string): Promise<string[]> {
  return (await entries(folder)).map(({ name }) => join(folder, name));
}

/** Path of the newest one, or null. It is whole unless the disk damaged it, which `loadCheckpoint` tells. */
export async function latestCheckpoint(folder: string): Promise<string | null> {
  return (await listCheckpoints(folder)).at(-1) ?? null;
}

interface Entry {
  readonly name: string;
  readonly step: number;
  readonly revision: number;
}

async function entries(folder: string): Promise<Entry[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return [];
    const reason = error instanceof Error ? error.message : String(error);
    throw new CheckpointError('CHECKPOINT_MISSING', folder, `cannot be read: ${reason}`, { cause: error });
  }
  return names
    .flatMap((name) => {
      const match = NAME.exec(name);
      return match === null ? [] : [{ name, step: Number(match[1]), revision: Number(match[2] ?? 0) }];
    })
    .sort((a, b) => a.step - b.step || a.revision - b.revision);
}

/** Where a step goes that may have been saved before: a revision after those that there are. */
function pathOf(folder: string, name: string, step: number, earlier: readonly Entry[]): string {
  const revisions = earlier.filter((entry) => entry.step === step).map((entry) => entry.revision);
  return join(folder, revisions.length === 0 ? name : `${name}.${Math.max(...revisions) + 1}`);
}

/**
 * Removes all but the `keep` newest steps, `saved` counted. A checkpoint loses its name before it loses its files. One
 * that holds a file of somebody else's is left as it is.
 */
async function prune(
  folder: string,
  saved: string,
  earlier: readonly Entry[],
  step: number,
  keep: number,
): Promise<void> {
  const others = earlier.filter((entry) => entry.step !== step);
  const kept = new Set(others.slice(Math.max(0, others.length - (keep - 1))));
  for (const entry of earlier) {
    if (kept.has(entry)) continue;
    try {
      if (!(await holdsOnlyOwn(join(folder, entry.name)))) continue;
      const doomed = join(folder, `${TEMPORARY}old-${entry.name}`);
      await rename(join(folder, entry.name), doomed);
      await removeOwn(doomed);
    } catch (error) {
      const why = (error as Error).message;
      throw new CheckpointError(
        'CHECKPOINT_WRITE',
        saved,
        `saved, but the older ${entry.name} cannot be removed: ${why}`,
        { cause: error },
      );
    }
  }
}

/** What a killed process left. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (name.startsWith(TEMPORARY) && (await holdsOnlyOwn(path))) await removeOwn(path);
  }
}

/** Whether `path` is a folder, and no link to one, with nothing in it but the files of a checkpoint. */
async function holdsOnlyOwn(path: string): Promise<boolean> {
  if (!(await lstat(path)).isDirectory()) return false;
  const entries = await readdir(path, { withFileTypes: true });
  return entries.every((entry) => entry.isFile() && OWN_FILES.includes(entry.name));
}

async function removeOwn(path: string): Promise<void> {
  for (const file of OWN_FILES) await rm(join(path, file), { force: true });
  await rmdir(path);
}

async function readModel(path: string, digest: FileDigest): Promise<LazyTransformer> {
  const bytes = await readChecked(path);
  if (createHash('sha256').update(bytes).digest('hex') !== digest.sha256) {
    throw new CheckpointError(
      'CHECKPOINT_CORRUPT',
      path,
      'its SHA-256 is not that of what was written; it is damaged or was edited',
    );
  }
  try {
    return lazyTransformer(JSON.parse(new TextDecoder().decode(bytes)) as LazyTransformerOptions);
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof SyntaxError)) throw error;
    throw new CheckpointError('CHECKPOINT_CORRUPT', path, `describes no model: ${error.message}`, { cause: error });
  }
}

/** Names the first thing that differs, in the words of the configuration. */
function checkSameModel(path: string, found: LazyTransformer, expected: LazyTransformer): void {
  for (const key of Object.keys(expected.config) as (keyof LazyTransformerConfig)[]) {
    if (key === 'computeDType' || key === 'initStd') continue; // the parameters do not depend on them
    const [has, wants] = [found.config[key], expected.config[key]].map((value) =>
      typeof value === 'string' ? value : JSON.stringify(value),
    );
    if (has !== wants) {
      throw new CheckpointError('CHECKPOINT_SHAPE', join(path, CONFIG), `${key} is ${has}; the model expects ${wants}`);
    }
  }
}

function checkParams(folder: string, model: LazyTransformer, params: Params): void {
  for (const name of new Set([...Object.keys(model.shapes), ...Object.keys(params)])) {
    const [found, expected] = [params[name], model.shapes[name]];
    if (found === undefined || expected === undefined || formatShape(found.shape) !== formatShape(expected)) {
      const shape = (value: readonly number[] | undefined) => (value === undefined ? 'missing' : formatShape(value));
      throw new CheckpointError(
        'CHECKPOINT_SHAPE',
        folder,
        `not saved: params['${name}'] is ${shape(found?.shape)}; the model has ${shape(expected)}`,
      );
    }
  }
}

// PyTorch's names for the moments of Adam.
const momentNames = (name: string) => ({ m: `exp_avg.${name}`, v: `exp_avg_sq.${name}` });

function momentShapes(model: LazyTransformer) {
  return Object.fromEntries(
    Object.entries(model.shapes).flatMap(([name, shape]) =>
      Object.values(momentNames(name)).map((moment) => [moment, shape]),
    ),
  );
}

function joinMoments({ m, v }: AdamWState): Params {
  return Object.fromEntries(
    Object.keys(m).flatMap((name) => [
      [momentNames(name).m, m[name]],
      [momentNames(name).v, v[name]],
    ]),
  );
}

function splitMoments(model: LazyTransformer, moments: Params): { m: Params; v: Params } {
  const part = (which: 'm' | 'v') =>
    Object.fromEntries(Object.keys(model.shapes).map((name) => [name, moments[momentNames(name)[which]]]));
  return { m: part('m'), v: part('v') };
}
