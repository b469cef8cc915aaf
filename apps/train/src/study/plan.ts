import { join } from 'node:path';
import type { ComparePlan } from '../compare/compare-plan.ts';
import { COMPARE_VERSION, type CompareRun, createPlan, readPlan, variantOf } from '../compare/plan.ts';
import { RunError } from '../errors.ts';
import { runFolder } from '../run/folder.ts';
import { checkPlan } from '../run/schema.ts';
import type { Study } from './studies.ts';

/** study.json: which study, and what it trains. */
export interface StudyPlan extends ComparePlan {
  readonly study: string;
}

function planPath(root: string): string {
  return join(root, 'study.json');
}

/** Makes the folder of a new study. Refuses one that already holds anything. @throws RunError RUN_EXISTS or RUN_WRITE */
export function createStudy(root: string, plan: StudyPlan): void {
  createPlan('study', 'study', root, planPath(root), plan);
}

/** @throws RunError when there is none, it is of another study, damaged or from a newer version */
export function openStudy(root: string, study: string): StudyPlan {
  const path = planPath(root);
  const json = readPlan('study', path);
  const plan = checkPlan(path, json, COMPARE_VERSION);
  const found = (json as { study?: unknown }).study;
  if (found !== study) {
    throw new RunError('RUN_DIFFERS', `study: ${path} is of the study '${String(found)}'; expected '${study}'`);
  }
  return { ...plan, study };
}

/** The runs of a study: every seed with all kinds and all values of tau before the next seed. */
export function studyRuns(root: string, { taus }: Study, plan: StudyPlan): CompareRun[] {
  const variants = taus ?? [null];
  return plan.seeds.flatMap((seed) =>
    plan.attentions.flatMap((attention) =>
      variants.map((tau) => ({
        attention,
        seed,
        folder: runFolder(join(root, `${attention}${tau === null ? '' : `-tau${tau}`}-seed${seed}`)),
        record: {
          ...variantOf(plan.record, attention, seed),
          ...(tau === null ? {} : { start: { ...plan.record.start, tau } }),
        },
      })),
    ),
  );
}
