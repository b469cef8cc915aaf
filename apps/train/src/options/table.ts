import { type AttentionKind, attentionKinds, PRESETS, type PresetName } from '@lazy-attention/nn';
import * as v from 'valibot';
import type { TrainingOption } from './option.ts';
import { RECIPE_OPTIONS, type RecipeValues } from './recipe.ts';
import { STARTING_OPTIONS, type StartingValues } from './starting.ts';
import { checked, choice, flag, integer, integers, positive, range, text } from './values.ts';

/** Most steps, windows and the like: far above any use, far below where sums lose integers. */
const MANY = 1e9;

/** Most of what a tensor has an axis of: sequences, tokens, distances. */
export const LONGEST_AXIS = 2 ** 20;

/** Types that `--dtype` takes. */
export type ComputeType = 'f32' | 'bf16' | 'f16';

/** Every option that says how a run trains, by its name in the program. */
export interface TrainingValues extends RecipeValues, StartingValues {
  /** Size of the model. */
  preset: PresetName;
  /** Kind of attention. */
  attention: AttentionKind;
  /** Type of the forward pass. */
  dtype: ComputeType;
  /** Training steps. */
  steps: number;
  /** Sequences per step. */
  batch: number;
  /** Sequences on the device at a time; divides `batch`. */
  microBatch: number;
  /** Compute layers again in the backward pass instead of keeping what they made. */
  recompute: boolean;
  /** Tokens whose logits exist at a time. */
  lossRows: number;
  /** Type of the optimiser's state. */
  optimizerDtype: 'f32' | 'bf16';
  /** Whether each rank keeps its part of the optimiser's state. */
  shardOptimizer: boolean;
  /** Tokens per sequence. */
  context: number;
  /** Width of the learnable bias. */
  window: number;
  /** Peak learning rate. */
  lr: number;
  /** Steps of linear warm-up. */
  warmup: number;
  /** Last learning rate as a share of the peak. */
  floor: number;
  /** Weight decay of matrices. */
  weightDecay: number;
  /** Largest gradient norm, 0 for none. */
  clip: number;
  /** Of weights, data order and sample. */
  seed: number;
  /** Share of the data held out. */
  validation: number;
  /** Path of a tokenizer.json or its folder. */
  tokenizer: string;
  /** Format of the data, where its name does not say it. */
  format: 'text' | 'jsonl' | 'parquet' | 'folder';
  /** Field of JSONL lines. */
  field: string;
  /** Column of a parquet file. */
  column: string;
  /** Letters after which a synthetic task copies. */
  triggers: string;
  /** Where the marker of a synthetic task may stand, counted from 1. */
  markers: number[];
  /** Text whose letters a synthetic task imitates. */
  taskText: string;
  /** Steps between validation losses, 0 for the end only. */
  evalEvery: number;
  /** Held-out windows looked at in between. */
  evalWindows: number;
  /** Held-out windows looked at in the end. */
  finalEvalWindows: number;
  /** Steps between checkpoints. */
  checkpointEvery: number;
  /** Checkpoints kept. */
  keep: number;
  /** Whether the weights with the lowest validation loss are kept, too. */
  saveBest: boolean;
  /** Evaluations without a lower validation loss after which training ends. */
  stopAfter: number;
  /** Whether TensorBoard's event files are written. */
  tensorboard: boolean;
  /** Whether metrics.csv is written. */
  csv: boolean;
  /** What the sample begins with. */
  prompt: string;
  /** Tokens of the sample. */
  sampleTokens: number;
  /** Steps between samples that are written while it is trained. */
  sampleEvery: number;
}

/** The options as a command line gives them; what was not given is undefined. */
export type PlanOptions = { [K in keyof TrainingValues]?: TrainingValues[K] | undefined };

/** Kinds of attention, those of one's own too, which are defined before this is read. */
export const KINDS: readonly AttentionKind[] = attentionKinds().map(({ name }) => name);

/** Formats that `--format` takes. */
export const FORMATS = ['text', 'jsonl', 'parquet', 'folder'] as const;

/** A preset in a file, perhaps of a later program: a name that can be printed. */
export const presetName = checked('a name', (x): x is string => typeof x === 'string' && /^[\w.-]{1,64}$/.test(x));

/** The options of training in the order of --help. Parsing, --help, run.json and the comparison of --resume come from here. */
export const TRAINING_OPTIONS: { readonly [K in keyof TrainingValues]: TrainingOption<TrainingValues[K]> } = {
  attention: {
    flags: '--attention <kind>',
    help: 'a kind (default: lazy), or a file that exports one of your own',
    value: choice(KINDS),
    recorded: 'model.attention',
    resume: 'fixed',
    single: true,
  },
  seed: {
    flags: '--seed <n>',
    help: 'of weights, data order and sample (default: 0)',
    value: integer(0),
    recorded: 'training.seed',
    resume: 'fixed',
    single: true,
  },
  prompt: {
    flags: '--prompt <text>',
    help: 'what the sample begins with (default: the first held-out words)',
    value: text,
    recorded: 'sample.prompt',
    resume: 'free',
    single: true,
  },
  preset: {
    flags: '--preset <name>',
    help: 'model size (default: nano, or pico on a slow backend)',
    value: choice(PRESETS),
    recorded: 'preset',
    stored: presetName,
    resume: 'fixed',
  },
  dtype: {
    flags: '--dtype <type>',
    help: 'of the forward pass; weights stay f32 (default: f32)',
    value: choice(['f32', 'bf16', 'f16']),
    recorded: 'model.computeDType',
    load: (stored) => stored ?? 'f32',
    resume: 'fixed',
  },
  steps: {
    flags: '--steps <n>',
    help: 'training steps',
    value: integer(1, MANY),
    recorded: 'training.steps',
    resume: 'fixed',
  },
  batch: {
    flags: '--batch <n>',
    help: 'sequences per step',
    value: integer(1, LONGEST_AXIS),
    recorded: 'training.batch',
    resume: 'fixed',
  },
  microBatch: {
    flags: '--micro-batch <n>',
    help: 'sequences on the device at a time, whose gradients add up to those of --batch (default: all)',
    value: integer(1, LONGEST_AXIS),
    recorded: 'training.microBatch',
    stored: v.optional(integer(1, LONGEST_AXIS).schema),
    load: (stored, { training }) => stored ?? training.batch,
    resume: 'fixed',
  },
  recompute: {
    flags: '--recompute',
    help: 'compute each layer again in the backward pass: far less memory, a third more time',
    value: flag,
    recorded: 'training.recompute',
    stored: v.optional(flag.schema),
    load: (stored) => stored ?? false,
    resume: 'fixed',
  },
  lossRows: {
    flags: '--loss-rows <n>',
    help: 'tokens whose logits exist at a time (default: all)',
    value: integer(1, 2 ** 30),
    recorded: 'training.lossRows',
    stored: v.optional(integer(1, 2 ** 30).schema),
    load: (stored) => stored ?? 'all',
    resume: 'fixed',
  },
  optimizerDtype: {
    flags: '--optimizer-dtype <type>',
    help: "of the optimiser's state; bf16 takes half the memory (default: f32)",
    value: choice(['f32', 'bf16']),
    recorded: 'training.optimizerDtype',
    stored: v.optional(choice(['f32', 'bf16']).schema),
    load: (stored) => stored ?? 'f32',
    resume: 'fixed',
  },
  shardOptimizer: {
    flags: '--shard-optimizer',
    help: "each rank keeps its part of the optimiser's state (ZeRO-1), with the same results",
    value: flag,
    recorded: 'training.shardOptimizer',
    stored: v.optional(flag.schema),
    load: (stored) => stored ?? false,
    resume: 'fixed',
    single: true,
  },
  context: {
    flags: '--context <n>',
    help: 'tokens per sequence',
    value: integer(2, LONGEST_AXIS),
    recorded: 'model.context',
    resume: 'fixed',
  },
  window: {
    flags: '--window <n>',
    help: 'width W of the learnable bias',
    value: integer(1, LONGEST_AXIS),
    recorded: 'model.window',
    resume: 'fixed',
  },
  ...RECIPE_OPTIONS,
  lr: {
    flags: '--lr <x>',
    help: 'peak learning rate',
    value: positive,
    recorded: 'training.learningRate',
    resume: 'fixed',
  },
  warmup: {
    flags: '--warmup <n>',
    help: 'steps of linear warm-up',
    value: integer(0, MANY),
    recorded: 'training.warmupSteps',
    resume: 'fixed',
  },
  floor: {
    flags: '--floor <x>',
    help: 'last learning rate as a share of the peak (default: 0.1)',
    value: range(0, 1),
    recorded: 'training.floor',
    resume: 'fixed',
  },
  weightDecay: {
    flags: '--weight-decay <x>',
    help: 'on matrices (default: 0.1)',
    value: range(0, 10),
    recorded: 'training.weightDecay',
    resume: 'fixed',
  },
  clip: {
    flags: '--clip <x>',
    help: 'largest gradient norm, 0 for none (default: 1)',
    value: range(0, 1e9),
    recorded: 'training.maxNorm',
    stored: checked(
      'null, or a number above 0 and at most 1e9',
      (x): x is number | null => x === null || (typeof x === 'number' && x > 0 && x <= 1e9),
    ),
    load: (stored) => stored ?? 0,
    store: (value) => (value === 0 ? null : value),
    resume: 'fixed',
  },
  validation: {
    flags: '--validation <x>',
    help: 'share of the data held out (default: 0.1)',
    value: range(0, 0.99),
    recorded: 'data.validation',
    resume: 'fixed',
  },
  tokenizer: {
    flags: '--tokenizer <path>',
    help: 'a tokenizer.json or its folder (default: bytes)',
    value: text,
    recorded: null,
    resume: 'refused',
  },
  format: {
    flags: '--format <name>',
    help: 'of the data, instead of what its name says',
    value: choice(FORMATS),
    recorded: 'data.options.format',
    resume: 'fixed',
  },
  field: {
    flags: '--field <name>',
    help: "field of JSONL lines (default: 'text')",
    value: text,
    recorded: 'data.options.field',
    resume: 'fixed',
  },
  column: {
    flags: '--column <name>',
    help: "column of a parquet file (default: 'text')",
    value: text,
    recorded: 'data.options.column',
    resume: 'fixed',
  },
  triggers: {
    flags: '--triggers <letters>',
    help: "of a synthetic task: letters after which the one before is copied (default: 'teo')",
    value: text,
    recorded: 'data.options.triggers',
    resume: 'fixed',
  },
  markers: {
    flags: '--markers <list>',
    help: 'of a synthetic task: where the marker may stand, from 1 (default: 1; moving-marker: 1,2,5,9)',
    value: integers(1, LONGEST_AXIS),
    recorded: 'data.options.markerPositions',
    resume: 'fixed',
  },
  taskText: {
    flags: '--task-text <path>',
    help: 'of a synthetic task: the text whose letters it imitates (default: moby-dick)',
    value: text,
    recorded: 'data.options.text',
    resume: 'fixed',
  },
  ...STARTING_OPTIONS,
  evalEvery: {
    flags: '--eval-every <n>',
    help: 'steps between validation losses, 0 for the end only (default: a fifth)',
    value: integer(0, MANY),
    recorded: 'rhythm.evalEvery',
    resume: 'free',
  },
  evalWindows: {
    flags: '--eval-windows <n>',
    help: 'held-out sequences looked at in between (default: 32)',
    value: integer(1, MANY),
    recorded: 'rhythm.evalWindows',
    resume: 'free',
  },
  finalEvalWindows: {
    flags: '--final-eval-windows <n>',
    help: 'held-out sequences looked at in the end (default: 256)',
    value: integer(1, MANY),
    recorded: 'rhythm.finalEvalWindows',
    resume: 'free',
  },
  checkpointEvery: {
    flags: '--checkpoint-every <n>',
    help: 'steps between checkpoints (default: a fifth)',
    value: integer(1, MANY),
    recorded: 'rhythm.checkpointEvery',
    resume: 'free',
  },
  keep: {
    flags: '--keep <n>',
    help: 'checkpoints kept (default: 2)',
    value: integer(1, MANY),
    recorded: 'rhythm.keep',
    resume: 'free',
  },
  saveBest: {
    flags: '--save-best',
    help: 'keep the weights with the lowest validation loss too, in the folder best',
    value: flag,
    recorded: 'rhythm.saveBest',
    stored: v.optional(flag.schema),
    load: (stored) => stored ?? false,
    resume: 'free',
  },
  stopAfter: {
    flags: '--stop-after <n>',
    help: 'evaluations without a lower validation loss after which training ends (default: never)',
    value: integer(1, MANY),
    recorded: 'rhythm.stopAfter',
    stored: v.optional(integer(1, MANY).schema),
    load: (stored) => stored ?? 'never',
    resume: 'free',
    single: true,
  },
  tensorboard: {
    flags: '--tensorboard',
    help: 'write event files for TensorBoard too, in the folder tensorboard',
    value: flag,
    recorded: 'rhythm.tensorboard',
    stored: v.optional(flag.schema),
    load: (stored) => stored ?? false,
    resume: 'free',
    single: true,
  },
  csv: {
    flags: '--csv',
    help: 'write metrics.csv beside metrics.jsonl',
    value: flag,
    recorded: 'rhythm.csv',
    stored: v.optional(flag.schema),
    load: (stored) => stored ?? false,
    resume: 'free',
    single: true,
  },
  sampleTokens: {
    flags: '--sample-tokens <n>',
    help: 'length of the sample (default: 200)',
    value: integer(1, LONGEST_AXIS),
    recorded: 'sample.tokens',
    resume: 'free',
  },
  sampleEvery: {
    flags: '--sample-every <n>',
    help: 'steps between samples while it is trained, in samples.jsonl (default: at the end alone)',
    value: integer(1, MANY),
    recorded: 'sample.every',
    stored: v.optional(integer(1, MANY).schema),
    load: (stored) => stored ?? 'never',
    resume: 'free',
    single: true,
  },
};
