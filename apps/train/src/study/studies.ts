import type { AttentionKind } from '@lazy-attention/nn';
import type { PlanOptions } from '../options/table.ts';
import type { EvalMetric } from '../run/metrics.ts';
import { EMBEDDED } from '../training/data.ts';
import { measureLengths } from './length.ts';
import { moveMarker } from './marker.ts';
import { measureQuantised } from './quantised-loss.ts';
import type { Measurement } from './table.ts';
import type { TrainedRun } from './trained.ts';

/** A question that is answered by training a few models and measuring them: `study NAME`. */
export interface Study {
  /** For --help. */
  readonly description: string;
  /** Trained on where nothing else is said. */
  readonly source: string;
  /** All that it may be trained on; left out: anything. */
  readonly sources?: readonly string[];
  /** How many times the heads are looked at in training, where --eval-every does not say it. */
  readonly looks?: number;
  readonly attentions: readonly AttentionKind[];
  /** What this study trains with, where the command line does not say otherwise. */
  readonly options: PlanOptions;
  /** Initial values of tau, each a run of its own; none: a run of each kind. */
  readonly taus?: readonly number[];
  /** What the cells of a row's key are, after 'attention'. */
  readonly keys: readonly string[];
  /** Figures that a terminal shows. */
  readonly shown: readonly string[];
  /** Rows of one trained run; the kind of attention is put before each key. */
  measure(run: TrainedRun): Promise<readonly Measurement[]>;
}

const PAIR: readonly AttentionKind[] = ['softmax', 'lazy'];

/** The studies by name. */
export const STUDIES: Readonly<Record<string, Study>> = {
  'moving-marker': {
    description: 'does the sink follow the repeated first token to position 1, 2, 5 or 9',
    source: 'moving-marker',
    sources: ['moving-marker'],
    attentions: PAIR,
    options: {},
    keys: ['marker at'],
    shown: ['loss', 'markerWeight', 'largestMarkerWeight', 'sinkRateOnMarker', 'strongestIsMarker'],
    measure: moveMarker,
  },
  emergence: {
    description: 'when in training do sinks appear',
    source: 'bigram-backcopy',
    attentions: PAIR,
    options: {},
    looks: 20,
    keys: ['step'],
    shown: ['loss', 'firstTokenWeight', 'sinkRate@0.3', 'sparsity'],
    measure: async ({ metrics }) => emergence(metrics),
  },
  tau: {
    description: "tau's initial value against zeros and loss (the paper's Table 2)",
    source: 'bigram-backcopy',
    attentions: ['lazy'],
    options: {},
    taus: [0, -0.5, -1, -1.5, -2],
    keys: ['tau'],
    shown: ['loss', 'sparsity', 'firstTokenWeight', 'sinkRate@0.3', 'lastTau'],
    measure: async ({ record, figures }) => [{ key: [record.start?.tau ?? -1], figures: await figures() }],
  },
  length: {
    description: 'trained on 512 tokens, tried on 1024 and 2048',
    source: EMBEDDED,
    attentions: ['softmax', 'alibi', 'lazy'],
    options: { preset: 'nano', context: 512, batch: 8 },
    keys: ['context'],
    shown: ['loss', 'lossBeyond', 'firstTokenWeight', 'sparsity'],
    measure: measureLengths,
  },
  quantisation: {
    description: 'weights and activations rounded to 8 and 4 bits: loss before and after',
    source: 'bigram-backcopy',
    attentions: PAIR,
    options: {},
    keys: ['weights', 'activations'],
    shown: ['loss', 'lossAdded', 'largestActivation', 'kurtosis'],
    measure: measureQuantised,
  },
};

function emergence(metrics: readonly EvalMetric[]): Measurement[] {
  return metrics.map(({ step, loss, firstTokenWeight, sinkRate, sparsity }) => ({
    key: [step],
    figures: {
      loss,
      firstTokenWeight: firstTokenWeight ?? null,
      'sinkRate@0.3': sinkRate ?? null,
      sparsity: sparsity ?? null,
    },
  }));
}
