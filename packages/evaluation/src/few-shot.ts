import { EvaluationError } from './errors.ts';
import { PythonRandom } from './python-random.ts';
import type { Doc, Task } from './tasks/task.ts';

/** Where the examples before an item come from. */
export interface FewShot {
  /** Examples per item. */
  readonly count: number;
  /** The items to draw from. */
  readonly docs: readonly Doc[];
  /** True where `docs` are the items that are evaluated: an item is then never its own example. */
  readonly sameSplit: boolean;
  /** 'random' draws anew for each item, as lm-eval does; 'first' takes the first ones. Default 'random'. */
  readonly sampler?: 'random' | 'first' | undefined;
  /** Default 1234, lm-eval's. */
  readonly seed?: number | undefined;
}

/** lm-eval's default seed of few-shot examples. */
export const FEW_SHOT_SEED = 1234;

/**
 * Gives, for one item after another from the first, the text of its examples: '' without any.
 * @throws EvaluationError (TASK) where there are too few items, or for a task that takes no examples
 */
export function fewShotTexts(task: Task, fewShot: FewShot | undefined): (doc: Doc) => string {
  if (fewShot === undefined || fewShot.count === 0) return () => '';
  const { count, docs, sameSplit, sampler = 'random', seed = FEW_SHOT_SEED } = fewShot;
  if (task.kind === 'rolling') throw new EvaluationError('TASK', `benchmark: ${task.name} takes no few-shot examples`);
  const needed = count + (sameSplit ? 1 : 0);
  if (docs.length < needed) {
    throw new EvaluationError(
      'TASK',
      `benchmark: ${task.name} has ${docs.length} items; ${count} examples need ${needed}`,
    );
  }
  const random = new PythonRandom(seed);
  return (doc) => {
    const isOther = (other: Doc) => !sameSplit || !same(other, doc);
    const drawn = sampler === 'first' ? docs.filter(isOther) : random.sample(docs, needed).filter(isOther);
    // Two copies of the item among those drawn leave one too few: draw again from the others.
    const chosen = drawn.length >= count ? drawn.slice(0, count) : random.sample(docs.filter(isOther), count);
    return chosen.map((example) => `${solved(task, example)}\n\n`).join('');
  };
}

function solved(task: Task, doc: Doc): string {
  switch (task.kind) {
    case 'choice':
      return `${task.context(doc)} ${task.choices(doc)[task.gold(doc)]}`;
    case 'context':
      return `${task.contexts(doc)[task.gold(doc)]} ${task.continuation(doc)}`;
    case 'completion':
      return `${task.context(doc)} ${task.continuation(doc)}`;
    case 'rolling':
      return task.text(doc);
  }
}

function same(a: Doc, b: Doc): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
