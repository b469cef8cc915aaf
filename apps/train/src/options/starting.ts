import { resolve } from 'node:path';
import type { TrainingOption } from './option.ts';
import { choice, range, span, text, type Value } from './values.ts';

const TRAINED = choice(['all', 'attention', 'bias-tau']);
/** A command line may say `tau,bias`, as the schedule and the rates are spoken of. */
const trained: Value<'all' | 'attention' | 'bias-tau'> = {
  expected: `${TRAINED.expected} (or tau,bias, which is bias-tau)`,
  read: (given) => TRAINED.read(['tau,bias', 'bias,tau'].includes(given) ? 'bias-tau' : given),
  schema: TRAINED.schema,
  json: TRAINED.json,
};

/** What a run starts from, and how it leaves that. */
export interface StartingValues {
  /** A MODEL to start from, instead of random weights. */
  from: string;
  /** What every tau begins with. */
  tau: number;
  /** Steps between which tau goes from 0 to -1. */
  tauAnneal: [number, number];
  /** What the optimiser moves. */
  trainOnly: 'all' | 'attention' | 'bias-tau';
  /** Added to the loss, times the mean weight on the first token. */
  sinkPenalty: number;
  /** A MODEL whose predictions are learned, too. */
  distill: string;
  /** Share of that model's predictions in the target; the rest is the text. */
  distillShare: number;
  /** Learning rate of tau in multiples of the others'. */
  tauRate: number;
  /** Learning rate of attention's bias in multiples of the others'. */
  biasRate: number;
}

/** Options of a run that starts from a model. */
export const STARTING_OPTIONS: { readonly [K in keyof StartingValues]: TrainingOption<StartingValues[K]> } = {
  from: {
    flags: '--from <model>',
    help: 'start from this model: a run, a checkpoint, a Hugging Face or fla folder, or a .gguf file',
    value: text,
    recorded: 'start.from',
    store: (path) => resolve(path),
    resume: 'refused',
    single: true,
  },
  tau: {
    flags: '--tau <x>',
    help: 'what every tau begins with (default: -1; with --from, that of the model)',
    value: range(-100, 100),
    recorded: 'start.tau',
    resume: 'fixed',
    single: true,
  },
  tauAnneal: {
    flags: '--tau-anneal <start:end>',
    help: 'tau goes from 0 to -1 between these steps: softmax becomes Elastic-Softmax',
    value: span,
    recorded: 'start.tauAnneal',
    resume: 'fixed',
    single: true,
  },
  trainOnly: {
    flags: '--train-only <what>',
    help: 'all (default), attention, or tau,bias (also bias-tau); the rest stays as it is',
    value: trained,
    recorded: 'start.trainOnly',
    resume: 'fixed',
    single: true,
  },
  sinkPenalty: {
    flags: '--sink-penalty <x>',
    help: 'x times the mean weight on the first token is added to the loss',
    value: range(0, 1000),
    recorded: 'start.sinkPenalty',
    resume: 'fixed',
    single: true,
  },
  distill: {
    flags: '--distill <model>',
    help: 'learn the predictions of this model, too; it has the same tokens',
    value: text,
    recorded: 'start.distill',
    store: (path) => resolve(path),
    resume: 'refused',
    single: true,
  },
  distillShare: {
    flags: '--distill-share <x>',
    help: 'share of its predictions in the target, the rest is the text (default: 0.5)',
    value: range(0, 1),
    recorded: 'start.distillShare',
    resume: 'fixed',
    single: true,
  },
  tauRate: {
    flags: '--tau-rate <x>',
    help: 'learning rate of tau in multiples of --lr (default: 1)',
    value: range(0, 10_000),
    recorded: 'start.tauRate',
    resume: 'fixed',
  },
  biasRate: {
    flags: '--bias-rate <x>',
    help: "learning rate of attention's bias in multiples of --lr (default: 1)",
    value: range(0, 10_000),
    recorded: 'start.biasRate',
    resume: 'fixed',
  },
};
