import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { type AttentionKind, lazyTransformer } from '@lazy-attention/nn';
import { RunError } from '../errors.ts';
import { writeError, writeWhole } from '../run/files.ts';
import { type RunFolder, refuseTaken, runFolder } from '../run/folder.ts';
import type { RunRecord } from '../run/record.ts';

export const COMPARE_VERSION = 1;

/** compare.json: what is trained, in which order. */
export interface ComparePlan {
  readonly version: number;
  /** All runs are this one but for the kind of attention and the seed. */
  readonly record: RunRecord;
  readonly attentions: readonly AttentionKind[];
  readonly seeds: readonly number[];
}

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
      record: {
        ...plan.record,
        model: lazyTransformer({ ...plan.record.model, attention }).config,
        training: { ...plan.record.training, seed },
      },
    })),
  );
}

/** Makes the folder of a new comparison. Refuses one that already holds anything. */
export function createCompare(root: string, plan: ComparePlan): void {
  refuseTaken('compare', root, isCompareFolder(root), (name) => name.endsWith('.tmp'));
  try {
    mkdirSync(root, { recursive: true });
  } catch (error) {
    throw writeError(root, error);
  }
  writeWhole(planPath(root), `${JSON.stringify(plan, null, 2)}\n`);
}

/** @throws RunError when there is none, or it is damaged or from a newer version */
export function openCompare(root: string): ComparePlan {
  const path = planPath(root);
  if (!existsSync(path)) {
    throw new RunError('RUN_MISSING', `compare: there is no ${path}; expected a folder that 'compare' wrote`);
  }
  let plan: ComparePlan;
  try {
    plan = JSON.parse(readFileSync(path, 'utf8')) as ComparePlan;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RunError('RUN_RECORD', `compare: ${path} cannot be read: ${reason}`, { cause: error });
  }
  if (plan.version > COMPARE_VERSION) {
    throw new RunError(
      'RUN_VERSION',
      `compare: ${path} has version ${plan.version}; this program knows up to ${COMPARE_VERSION}; upgrade lazy-attention`,
    );
  }
  if (!Array.isArray(plan.attentions) || !Array.isArray(plan.seeds) || typeof plan.record !== 'object') {
    throw new RunError('RUN_RECORD', `compare: ${path} is not the plan of a comparison; the file is damaged`);
  }
  return plan;
}

/** A path as a reader of the report would type it. */
export function shownPath(path: string): string {
  const near = relative(process.cwd(), resolve(path));
  return near === '' ? '.' : near.startsWith('..') ? resolve(path) : near;
}
