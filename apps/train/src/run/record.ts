import type { TokenizerJSON } from '@lazy-attention/data';
import type { LazyTransformerConfig } from '@lazy-attention/nn';

/** Version of the run folder's layout; a newer one is refused. */
export const RUN_VERSION = 1;

/** run.json: everything that decides what a run computes, and where it came from. */
export interface RunRecord {
  /** Of this layout. */
  readonly version: number;
  /** When, in ISO 8601. */
  readonly createdAt: string;
  /** The command line that made it, to be shown and repeated. */
  readonly command: string;
  /** Name of the preset whose sizes it began from. */
  readonly preset: string;
  /** Its whole configuration. */
  readonly model: LazyTransformerConfig;
  /** What it is trained on. */
  readonly data: DataRecord;
  /** What decides how it is trained. */
  readonly training: TrainingRecord;
  /** Of a run that does not begin with random weights, or that does not train all of them alike. */
  readonly start?: StartRecord | undefined;
  /** When it is saved, measured and told of. */
  readonly rhythm: Intervals;
  /** What it writes in the end. */
  readonly sample: SampleRecord;
  /** Where it was started. */
  readonly environment: EnvironmentRecord;
}

export interface DataRecord {
  /** 'moby-dick', a synthetic task's name, or an absolute path. */
  readonly source: string;
  readonly options: {
    readonly format?: string;
    readonly field?: string;
    readonly column?: string;
    /** Of a synthetic task. */
    readonly triggers?: string;
    readonly markerPositions?: readonly number[];
    readonly text?: string;
  };
  /** In run.json the digest of a file beside it stands for one that is not bytes. */
  readonly tokenizer: TokenizerJSON;
  /** Of every token, document boundary and the tokeniser: tells runs on different data apart. */
  readonly fingerprint: string;
  /** Share of the tokens that are held out. */
  readonly validation: number;
  /** Token before each document: its text, or 'none'. Left out or 'own': the tokenizer's. */
  readonly bos?: string | undefined;
  /** Token after each document, likewise. */
  readonly eos?: string | undefined;
}

export interface TrainingRecord {
  readonly steps: number;
  /** Steps of the schedule, where the run was extended: those after them keep its last learning rate. */
  readonly scheduleSteps?: number;
  /** Sequences per step. */
  readonly batch: number;
  /** Sequences on the device at a time; divides `batch`. Left out: all. */
  readonly microBatch?: number | undefined;
  /** Layers are computed again in the backward pass. */
  readonly recompute?: boolean | undefined;
  /** Tokens whose logits exist at a time. Left out: all. */
  readonly lossRows?: number | undefined;
  /** Type of the optimiser's state. Left out: f32. */
  readonly optimizerDtype?: 'f32' | 'bf16' | undefined;
  /** Whether each rank keeps its part of the optimiser's state; left out: no. */
  readonly shardOptimizer?: boolean | undefined;
  /** Standard deviation of attention's initial bias. Left out: 0. */
  readonly biasInit?: number | undefined;
  /** Weight decay of attention's bias and tau. Left out: 0. */
  readonly biasTauDecay?: number | undefined;
  /** Steps after which attention's bias and tau stay as they are. Left out: never. */
  readonly biasTauFreeze?: number | undefined;
  /** Of AdamW. Left out: 0.9. */
  readonly beta1?: number | undefined;
  /** Of AdamW. Left out: 0.95. */
  readonly beta2?: number | undefined;
  /** Of AdamW. Left out: 1e-8. */
  readonly epsilon?: number | undefined;
  /** Whether a token attends across the borders of its document. Left out: isolated. */
  readonly documents?: 'isolated' | 'joined' | undefined;
  /** Peak of the schedule. */
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** Last learning rate as a share of the peak. */
  readonly floor: number;
  readonly weightDecay: number;
  /** Gradients are scaled down to this global norm; null leaves them. */
  readonly maxNorm: number | null;
  readonly seed: number;
}

/** What a run starts from, and what it does to it. */
export interface StartRecord {
  /** Absolute path of the MODEL. */
  readonly from?: string;
  /** What every tau begins with. */
  readonly tau?: number;
  /** Steps between which tau goes from 0 to -1. */
  readonly tauAnneal?: readonly [number, number];
  readonly trainOnly?: 'all' | 'attention' | 'bias-tau';
  /** Added to the loss, times the mean weight on the first token. */
  readonly sinkPenalty?: number;
  /** Absolute path of the MODEL whose predictions are learned, too. */
  readonly distill?: string;
  /** Share of them in the target; default 0.5. */
  readonly distillShare?: number;
  /** Learning rate of tau in multiples of the schedule's; default 1. */
  readonly tauRate?: number;
  /** Learning rate of attention's bias in multiples of the schedule's; default 1. */
  readonly biasRate?: number;
}

/** How often things happen, none of which changes what is computed. */
export interface Intervals {
  /** Steps between validation losses; 0 only at the end. */
  readonly evalEvery: number;
  /** Windows of the validation part that are looked at in between; the last evaluation takes `finalEvalWindows`. */
  readonly evalWindows: number;
  /** Windows of the evaluation after the last step. */
  readonly finalEvalWindows: number;
  /** Steps between checkpoints; one is always written at the start and the end. */
  readonly checkpointEvery: number;
  /** Checkpoints kept. */
  readonly keep: number;
  /** Whether the weights with the lowest validation loss are kept, too; left out: no. */
  readonly saveBest?: boolean | undefined;
  /** Evaluations without a lower validation loss after which training ends; left out: never. */
  readonly stopAfter?: number | undefined;
  /** Whether TensorBoard's event files are written; left out: no. */
  readonly tensorboard?: boolean | undefined;
  /** Whether metrics.csv is written; left out: no. */
  readonly csv?: boolean | undefined;
}

/** The text that a run ends with, and writes meanwhile. */
export interface SampleRecord {
  readonly prompt: string;
  /** How many tokens follow it. */
  readonly tokens: number;
  /** Steps between samples while it is trained; left out: none. */
  readonly every?: number | undefined;
}

export interface EnvironmentRecord {
  readonly backend: string;
  readonly device: string;
  readonly node: string;
  readonly platform: string;
  /** Of lazy-attention; left out in runs of before it was recorded. */
  readonly version?: string | undefined;
  /** Of the sources that it was built from, with '-dirty' where they had changes; null where nobody knows. */
  readonly commit?: string | null | undefined;
}
