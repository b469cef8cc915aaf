import { existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { type AttentionKind, lazyTransformer } from '@lazy-attention/nn';
import { RunError } from '../errors.ts';
import { makeFolder, readJson, writeNew } from '../run/files.ts';
import { checkOut, type RunFolder, refuseTaken, runFolder } from '../run/folder.ts';
import { LOCK } from '../run/lock.ts';
import type { RunRecord } from '../run/record.ts';
import { checkPlan } from '../run/schema.ts';
import { isTokenizerFile, loadedRecord, storedRecord } from '../run/tokenizer-file.ts';
import type { ComparePlan } from './compare-plan.ts';

export type { ComparePlan } from './compare-plan.ts';

export const COMPARE_VERSION = 1;

export interface CompareRun {
  readonly attention: AttentionKind;
  readonly seed: number;
  readonly folder: RunFolder;
  readonly record: RunRecord;
}

export function planPath(folder: string): string {
  return join(folder, 'compare.json');
}

export function isCompareFolder(folder: string): boolean {
  return existsSync(planPath(folder));
}

/** Every seed with all kinds of attention before the next seed, so that an early stop still leaves whole comparisons. */
export function plannedRuns(root: string, plan: ComparePlan): CompareRun[] {
  return plan.seeds.flatMap((seed) =>
    plan.attentions.map((attention) => ({
      attention,
      seed,
      folder: runFolder(join(root, `${attention}-seed${seed}`)),
      record: variantOf(plan.record, attention, seed),
    })),
  );
}

/** The record of the run that has another kind of attention and another seed. */
export function variantOf(record: RunRecord, attention: AttentionKind, seed: number): RunRecord {
  return {
    ...record,
    model: lazyTransformer({ ...record.model, attention }).config,
    training: { ...record.training, seed },
  };
}

/** Makes the folder of a new comparison. Refuses one that already holds anything. @throws RunError RUN_EXISTS or RUN_WRITE */
export function createCompare(root: string, plan: ComparePlan): void {
  createPlan('compare', 'comparison', root, planPath(root), plan);
}

/** Makes the folder of a plan, with the plan at `path`. @throws RunError RUN_EXISTS or RUN_WRITE */
export function createPlan(command: string, what: string, root: string, path: string, plan: ComparePlan): void {
  checkOut(command, root);
  refuseTaken(
    command,
    root,
    existsSync(path),
    (name) => name.endsWith('.tmp') || isTokenizerFile(name) || name === LOCK,
  );
  makeFolder(root);
  if (!writeNew(path, `${JSON.stringify({ ...plan, record: storedRecord(path, plan.record) }, null, 2)}\n`)) {
    throw new RunError('RUN_EXISTS', `${command}: ${root} holds another ${what}; name another folder with --out`);
  }
}

/** Reads compare.json of a folder. @throws RunError when there is none, or it is damaged or from a newer version */
export function openCompare(root: string): ComparePlan {
  const path = planPath(root);
  return checkPlan(path, readPlan('compare', path), COMPARE_VERSION);
}

/** The JSON of a plan, not yet checked. @throws RunError RUN_MISSING */
export function readPlan(command: string, path: string): unknown {
  if (existsSync(path)) {
    const plan = readJson(path) as { record?: unknown } | null;
    return plan?.record === undefined ? plan : { ...plan, record: loadedRecord(path, plan.record) };
  }
  throw new RunError('RUN_MISSING', `${command}: there is no ${path}; expected a folder that '${command}' wrote`);
}

/** A path as a reader of the report would type it. */
export function shownPath(path: string): string {
  const near = relative(process.cwd(), resolve(path));
  return near === '' ? '.' : near.startsWith('..') ? resolve(path) : near;
}
