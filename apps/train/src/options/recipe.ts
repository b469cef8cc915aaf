import * as v from 'valibot';
import { choice, flag, integer, positive, range, text, type Value } from './values.ts';

/** Options of a recipe that papers differ in; the names are those of the program. */
export interface RecipeValues {
  /** Layers of the model. */
  layers: number;
  /** Query heads. */
  heads: number;
  /** Key/value heads, a divisor of `heads`. */
  kvHeads: number;
  /** Width of the residual stream. */
  width: number;
  /** Width of the MLP. */
  mlpWidth: number;
  /** Whether the embedding is the head too. */
  tie: boolean;
  /** Base of the rotary frequencies. */
  ropeBase: number;
  /** Standard deviation of the initial bias of attention. */
  biasInit: number;
  /** Weight decay of attention's bias and tau. */
  biasTauDecay: number;
  /** Steps after which attention's bias and tau stay as they are. */
  biasTauFreeze: number;
  /** Of AdamW: decay of the mean gradient. */
  beta1: number;
  /** Of AdamW: decay of the mean square. */
  beta2: number;
  /** Of AdamW. */
  epsilon: number;
  /** Whether a token attends to its own document alone, or across borders too. */
  documents: 'isolated' | 'joined';
  /** Token before each document: its text, 'own' of the tokenizer, or 'none'. */
  bos: string;
  /** Token after each document, likewise. */
  eos: string;
}

const MOST = 4096;
const WIDEST = 2 ** 20;

/** A number of the model's shape, which the preset gives where it is left out. */
const size = (flags: string, help: string, most: number, field: string) =>
  ({
    flags,
    help: `${help} (default: the preset's)`,
    value: integer(1, most),
    recorded: `model.${field}`,
    resume: 'fixed',
  }) as const;

/** A setting of training that older records lack: left out it is `standard`. */
const setting = <T>(flags: string, help: string, value: Value<T>, field: string, standard: unknown) =>
  ({
    flags,
    help: `${help} (default: ${standard})`,
    value,
    recorded: `training.${field}` as const,
    stored: v.optional(value.schema),
    load: (stored: unknown) => stored ?? standard,
    resume: 'fixed',
  }) as const;

/** A token around each document. */
const frame = (flags: string, where: string, field: string) =>
  ({
    flags,
    help: `token ${where} each document: its text, none, or own, the tokenizer's (default: own)`,
    value: text,
    recorded: `data.${field}`,
    stored: v.optional(text.schema),
    load: (stored: unknown) => stored ?? 'own',
    resume: 'fixed',
  }) as const;

/** Rows of the options table. */
export const RECIPE_OPTIONS = {
  layers: size('--layers <n>', 'layers', MOST, 'numLayers'),
  heads: size('--heads <n>', 'query heads', MOST, 'numHeads'),
  kvHeads: size('--kv-heads <n>', 'key/value heads, a divisor of --heads', MOST, 'numKvHeads'),
  width: size('--width <n>', 'width of the residual stream', WIDEST, 'hiddenSize'),
  mlpWidth: size('--mlp-width <n>', 'width of the MLP', WIDEST, 'intermediateSize'),
  tie: {
    flags: '--tie',
    help: 'the embedding is the LM head too',
    value: flag,
    recorded: 'model.tieEmbeddings',
    resume: 'fixed',
  },
  ropeBase: {
    flags: '--rope-base <x>',
    help: 'base of the rotary frequencies (default: 10000)',
    value: positive,
    recorded: 'model.ropeBase',
    resume: 'fixed',
  },
  biasInit: setting('--bias-init <x>', "standard deviation of attention's initial bias", range(0, 10), 'biasInit', 0),
  biasTauDecay: setting(
    '--bias-tau-decay <x>',
    "weight decay of attention's bias and tau",
    range(0, 10),
    'biasTauDecay',
    0,
  ),
  biasTauFreeze: setting(
    '--bias-tau-freeze <n>',
    "steps after which attention's bias and tau stay as they are",
    integer(0, 1e9),
    'biasTauFreeze',
    'never',
  ),
  beta1: setting('--beta1 <x>', "AdamW's decay of the mean gradient", range(0, 0.9999999), 'beta1', 0.9),
  beta2: setting('--beta2 <x>', "AdamW's decay of the mean square", range(0, 0.9999999), 'beta2', 0.95),
  epsilon: setting('--epsilon <x>', 'of AdamW', positive, 'epsilon', 1e-8),
  documents: setting(
    '--documents <how>',
    'isolated: a token attends to its own document alone; joined: across borders too',
    choice(['isolated', 'joined']),
    'documents',
    'isolated',
  ),
  bos: frame('--bos <token>', 'before', 'bos'),
  eos: frame('--eos <token>', 'after', 'eos'),
} as const;
