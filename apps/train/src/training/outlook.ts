import type { Backend } from '@lazy-attention/core';
import { flopsPerToken, type MemoryPlan, parameterCount } from '@lazy-attention/nn';
import { count, duration, table } from '../output/format.ts';
import type { RunRecord } from '../run/record.ts';
import { gibibytes, memoryLimit } from './memory.ts';
import { trialRun } from './trial.ts';

/** What a run is and will take, known before it begins. */
export interface Outlook {
  /** Preset, or name of the model that it starts from. */
  readonly preset: string;
  /** Its kind. */
  readonly attention: string;
  /** Layers, heads and widths. */
  readonly shape: {
    readonly layers: number;
    readonly heads: number;
    readonly kvHeads: number;
    readonly width: number;
    readonly mlpWidth: number;
    readonly vocabulary: number;
    readonly context: number;
  };
  /** Trainable scalars. */
  readonly parameters: number;
  /** Forward and backward, `flopsPerToken`. */
  readonly flopsPerToken: number;
  /** Steps that are left. */
  readonly steps: number;
  /** Steps that a resumed run has done. */
  readonly stepsDone: number;
  /** Of one step. */
  readonly tokensPerStep: number;
  /** Of all steps that are left. */
  readonly tokens: number;
  /** Bytes at the peak of a step, by kind. */
  readonly memory: MemoryPlan;
  /** Bytes that are there; null where nobody tells. */
  readonly memoryLimit: number | null;
  /** By a short trial; null where even that would take long, or nothing is left. */
  readonly tokensPerSecond: number | null;
  /** Seconds of training that are left, without evaluations; null as above. */
  readonly seconds: number | null;
}

/** Makes it, with a trial of about a second on the backend; the trial leaves nothing behind. */
export async function outlookOf(
  backend: Backend,
  record: RunRecord,
  memory: MemoryPlan,
  { stepsDone = 0, ranks = 1 }: { stepsDone?: number; ranks?: number } = {},
): Promise<Outlook> {
  const { model, training } = record;
  const tokensPerStep = training.batch * model.context;
  const steps = Math.max(0, training.steps - stepsDone);
  const tokensPerSecond = steps === 0 ? null : await trialRun(backend, record, ranks);
  return {
    preset: record.preset,
    attention: model.attention,
    shape: {
      layers: model.numLayers,
      heads: model.numHeads,
      kvHeads: model.numKvHeads,
      width: model.hiddenSize,
      mlpWidth: model.intermediateSize,
      vocabulary: model.vocabSize,
      context: model.context,
    },
    parameters: parameterCount(model),
    flopsPerToken: flopsPerToken(model),
    steps,
    stepsDone,
    tokensPerStep,
    tokens: steps * tokensPerStep,
    memory,
    memoryLimit: memoryLimit(backend),
    tokensPerSecond,
    seconds: tokensPerSecond === null ? null : (steps * tokensPerStep) / tokensPerSecond,
  };
}

/** For people. */
export function outlookText(outlook: Outlook): string {
  const { shape, memory, memoryLimit: limit } = outlook;
  const heads = shape.heads === shape.kvHeads ? `${shape.heads} heads` : `${shape.heads}/${shape.kvHeads} heads`;
  const kinds = (['weights', 'gradients', 'optimizer', 'activations', 'logits', 'workspace', 'sums'] as const)
    .filter((kind) => memory[kind] > 0)
    .map((kind) => `${kind} ${gibibytes(memory[kind])}`);
  return table([
    [
      'model',
      `${shape.layers} layers, ${heads}, width ${shape.width}, MLP ${shape.mlpWidth}, vocabulary ${count(shape.vocabulary)}, context ${shape.context}`,
    ],
    ['parameters', `${count(outlook.parameters)}, ${scaled(outlook.flopsPerToken)}FLOP per token`],
    ['work', workText(outlook)],
    ['memory', `${gibibytes(memory.peakBytes)} at the peak${limit === null ? '' : ` of ${gibibytes(limit)}`}`],
    ['', kinds.join(', ')],
    ...(outlook.steps === 0 ? [] : [['time', timeText(outlook)]]),
  ]);
}

function workText({ steps, stepsDone, tokensPerStep, tokens }: Outlook): string {
  if (steps === 0) return `none left: all ${count(stepsDone)} steps are done`;
  const left = stepsDone === 0 ? '' : `the last ${count(steps)} of `;
  return `${left}${count(steps + stepsDone)} steps of ${count(tokensPerStep)} tokens: ${scaled(tokens)}tokens`;
}

function timeText({ tokensPerSecond, seconds }: Outlook): string {
  if (tokensPerSecond === null || seconds === null) return 'unknown: a trial would take long on this backend';
  const time = seconds < 2 * 86400 ? duration(seconds) : `${count(seconds / 86400)} days`;
  return `about ${time} at ${count(tokensPerSecond)} tokens/s, by a short trial`;
}

/** 12,345,678 as '12.3 M'. */
function scaled(value: number): string {
  for (const [unit, size] of [
    ['T', 1e12],
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${count(value)} `;
}
