import { EvaluationError } from '../errors.ts';

/** One item of a task, as the hub's rows have it. */
export type Doc = Readonly<Record<string, unknown>>;

interface TaskBase {
  /** As lm-eval names it. */
  readonly name: string;
  /** Folder of its items below the data folder, where that is not its name. */
  readonly folder?: string;
  /** Splits to evaluate, the first that is there. */
  readonly splits: readonly string[];
  /** The item with what the task derives from it. Default: itself. */
  readonly prepare?: (doc: Doc) => Doc;
}

/** Several continuations of one context; the most probable one is the prediction. */
export interface ChoiceTask extends TaskBase {
  /** Tells the tasks apart. */
  readonly kind: 'choice';
  /** What every choice follows. */
  context(doc: Doc): string;
  /** What may follow it. */
  choices(doc: Doc): readonly string[];
  /** Index of the right one. */
  gold(doc: Doc): number;
  /** Whether accuracies by length are given too. */
  readonly normalised: boolean;
}

/** One continuation of several contexts; the context under which it is most probable is the prediction. */
export interface ContextTask extends TaskBase {
  /** Tells the tasks apart. */
  readonly kind: 'context';
  /** What may stand before. */
  contexts(doc: Doc): readonly string[];
  /** What follows all of them. */
  continuation(doc: Doc): string;
  /** Index of the right context. */
  gold(doc: Doc): number;
}

/** The probability of one given continuation, and whether it is the greedy one. */
export interface CompletionTask extends TaskBase {
  /** Tells the tasks apart. */
  readonly kind: 'completion';
  /** What stands before. */
  context(doc: Doc): string;
  /** What has to follow. */
  continuation(doc: Doc): string;
}

/** The probability of whole texts, in windows. */
export interface RollingTask extends TaskBase {
  /** Tells the tasks apart. */
  readonly kind: 'rolling';
  /** What is scored as a whole. */
  text(doc: Doc): string;
  /** The text whose words and bytes are counted. */
  counted(doc: Doc): string;
}

/** A benchmark: how an item becomes requests. */
export type Task = ChoiceTask | ContextTask | CompletionTask | RollingTask;

/** A string field. @throws EvaluationError (ITEM) */
export function text(doc: Doc, field: string): string {
  const value = doc[field];
  if (typeof value === 'string') return value;
  throw new EvaluationError('ITEM', `benchmark: field '${field}' is ${shown(value)}; expected a string`);
}

/** A field that holds strings. @throws EvaluationError (ITEM) */
export function texts(doc: Doc, field: string): readonly string[] {
  const value = doc[field];
  if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string')) return value;
  throw new EvaluationError('ITEM', `benchmark: field '${field}' is ${shown(value)}; expected a list of strings`);
}

/** The hub's `choices` of ARC and OpenBookQA: texts and their labels. @throws EvaluationError (ITEM) */
export function labelledChoices(doc: Doc): { readonly text: readonly string[]; readonly label: readonly string[] } {
  const value = doc.choices;
  if (typeof value !== 'object' || value === null) {
    throw new EvaluationError('ITEM', `benchmark: field 'choices' is ${shown(value)}; expected { text, label }`);
  }
  const choices = { text: texts(value as Doc, 'text'), label: texts(value as Doc, 'label') };
  if (choices.text.length !== choices.label.length) {
    throw new EvaluationError(
      'ITEM',
      `benchmark: 'choices' has ${choices.text.length} texts and ${choices.label.length} labels`,
    );
  }
  return choices;
}

/** A number, given as one or in text (with spaces or a line end around it), from `low` to below `end`. @throws EvaluationError (ITEM) */
export function index(doc: Doc, field: string, low: number, end: number): number {
  const value = doc[field];
  const number =
    typeof value === 'bigint' || typeof value === 'boolean' || typeof value === 'string' ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= low && number < end) return number;
  throw new EvaluationError('ITEM', `benchmark: field '${field}' is ${shown(value)}; expected ${low} to ${end - 1}`);
}

/** Where `label` stands among `labels`. @throws EvaluationError (ITEM) */
export function labelIndex(labels: readonly string[], label: string): number {
  const at = labels.indexOf(label);
  if (at >= 0) return at;
  throw new EvaluationError('ITEM', `benchmark: the answer '${label}' is none of ${labels.join(', ')}`);
}

function shown(value: unknown): string {
  return value === undefined ? 'missing' : (JSON.stringify(value)?.slice(0, 80) ?? String(value));
}
