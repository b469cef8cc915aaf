import type { AttentionKind, LazyTransformerOptions, PresetName } from '@lazy-attention/nn';
import { preset } from '@lazy-attention/nn';

/** What models learn from: the task on which sinks appear, Moby Dick, or text that was typed or pasted. */
export type Task = 'bigram-backcopy' | 'book' | 'text';

/** Sizes that a page trains in minutes. */
export const PAGE_PRESETS = ['pico', 'nano', 'micro'] as const satisfies readonly PresetName[];

/** Everything that decides what a training computes. Both sides share all of it but the kind. */
export interface Settings {
  readonly task: Task;
  /** What is trained on where the task is 'text'. */
  readonly text: string;
  readonly preset: (typeof PAGE_PRESETS)[number];
  /** Tokens per sequence. */
  readonly context: number;
  /** Sequences per step. */
  readonly batch: number;
  readonly seed: number;
  /** Peak of the schedule. */
  readonly learningRate: number;
  readonly steps: number;
  /** Kinds of attention, left and right. */
  readonly kinds: readonly [AttentionKind, AttentionKind];
}

/**
 * The settings of the recorded run, and what the page begins with. A high learning rate and a short context make sinks grow soon: in
 * seeds 0, 1 and 2, with 0.39, 0.79 and 0.67 in the strongest head. In seed 1 that head copies on both sides, so it is the one recorded.
 */
export const DEFAULTS: Settings = {
  task: 'bigram-backcopy',
  text: '',
  preset: 'pico',
  context: 64,
  batch: 32,
  seed: 1,
  learningRate: 1e-2,
  steps: 800,
  kinds: ['softmax', 'lazy'],
};

/** Steps of linear warm-up, as `lazy-attention train` has them. */
export function warmupSteps({ steps }: Pick<Settings, 'steps'>): number {
  return Math.min(100, Math.ceil(steps / 10));
}

/** The model of one side. */
export function modelOptions(settings: Settings, side: 0 | 1, vocabSize: number): LazyTransformerOptions {
  const { context } = settings;
  return preset(settings.preset, { vocabSize, context, attention: settings.kinds[side] });
}

/** The command that repeats one side's training. */
export function commandOf(settings: Settings, side: 0 | 1): string {
  const data = { 'bigram-backcopy': 'bigram-backcopy', book: 'moby-dick', text: 'my-text.txt' }[settings.task];
  const { preset: size, context, batch, seed, learningRate, steps, kinds } = settings;
  return `npx lazy-attention train ${data} --preset ${size} --attention ${kinds[side]} --context ${context} --batch ${batch} --seed ${seed} --lr ${learningRate} --steps ${steps}`;
}
