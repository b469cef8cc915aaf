import { setImmediate as turn } from 'node:timers/promises';
import { type Backend, elementCount } from '@lazy-attention/core';
import {
  adamW,
  batchTensors,
  disposeParams,
  flopsPerToken,
  type LazyTransformer,
  lazyTransformer,
  type Params,
  parameterCount,
  valueAndGrad,
} from '@lazy-attention/nn';
import type { RunRecord } from '../run/record.ts';
import { rowsAtATime } from './memory.ts';

/** Seconds after which a trial grows no more. */
const ENOUGH = 0.4;
/** Operations per second that the slowest backends do at least. */
const SLOWEST = 1e8;
/** Seconds that the first trial may take on such a backend. */
const LONGEST = 4;
/** Operations of a piece that is tried as it is. */
const SMALL = 3e8;
const SLOW = ['reference', 'tfjs'];

/** Sizes of a trial: the model's widths, perhaps fewer layers, tokens and sequences. */
interface Size {
  readonly layers: number;
  readonly context: number;
  readonly rows: number;
}

/**
 * Tokens per second of training, from steps of a model with the run's widths that grows from one layer and few tokens to what the device
 * holds at a time, for about a second. Scaled by `flopsPerToken` where the whole was not reached. Null where the smallest trial would
 * already take seconds. Of `ranks` processes each has its share of the batch; what they say to each other is not counted.
 */
export async function trialRun(backend: Backend, record: RunRecord, ranks = 1): Promise<number | null> {
  const { model, training } = record;
  const rows = rowsAtATime(training, ranks);
  const whole = { layers: model.numLayers, context: model.context, rows };
  let size: Size = { layers: 1, context: Math.min(64, model.context), rows: 1 };
  if (operations(record, whole) <= SMALL) size = whole;
  if (SLOW.includes(backend.name) && operations(record, size) > LONGEST * SLOWEST) return null;
  if (!SLOW.includes(backend.name)) await timeOf(backend, record, size); // pipelines are compiled and memory is taken
  for (;;) {
    const time = await timeOf(backend, record, size);
    const next = grown(size, whole);
    if (time.piece > ENOUGH || next === null) {
      const tokens = rows * model.context;
      const piece = time.piece * ((flopsPerToken(model) * tokens) / operations(record, size));
      const step = piece * (training.batch / ranks / rows) + time.optimizer;
      return (training.batch * model.context) / step;
    }
    size = next;
  }
}

/** Twice as much of what is not whole yet: tokens first, then layers, then sequences. Null when all is whole. */
function grown(size: Size, whole: Size): Size | null {
  for (const axis of ['context', 'layers', 'rows'] as const) {
    if (size[axis] < whole[axis]) return { ...size, [axis]: Math.min(whole[axis], size[axis] * 4) };
  }
  return null;
}

function configOf({ model }: RunRecord, { layers, context }: Size): LazyTransformer['config'] {
  const within = (indices: readonly number[]) => indices.filter((layer) => layer < layers);
  return {
    ...model,
    numLayers: layers,
    context,
    noRopeLayers: within(model.noRopeLayers),
    fullAttentionLayers: within(model.fullAttentionLayers),
  };
}

function operations(record: RunRecord, size: Size): number {
  return flopsPerToken(configOf(record, size)) * size.rows * size.context;
}

/** Seconds of the gradients of a piece, and of the optimiser for all of the run's parameters. */
async function timeOf(backend: Backend, record: RunRecord, size: Size): Promise<{ piece: number; optimizer: number }> {
  await turn();
  const { recompute, lossRows } = record.training;
  const model = lazyTransformer(configOf(record, size));
  const params = someParams(backend, model);
  const optimizer = adamW(backend, params);
  const { vocabSize } = model.config;
  const ids = Int32Array.from({ length: size.rows * size.context }, (_, i) => (i * 7919) % vocabSize);
  const batch = batchTensors(backend, {
    tokens: ids,
    targets: ids,
    starts: null,
    batch: size.rows,
    length: size.context,
  });
  await backend.synchronize();
  const started = performance.now();
  const { value, grads } = valueAndGrad(backend, model.loss)(params, batch, { recompute, lossRows });
  await value.data();
  await backend.synchronize();
  const between = performance.now();
  const { gradNormSquared } = optimizer.step(grads, 1e-3);
  await gradNormSquared.data();
  await backend.synchronize();
  const ended = performance.now();
  for (const tensor of [value, gradNormSquared, batch.tokens, batch.targets]) tensor.dispose();
  const share = parameterCount(record.model) / parameterCount(model.config);
  disposeParams(grads);
  disposeParams(params);
  optimizer.dispose();
  return { piece: (between - started) / 1000, optimizer: (share * (ended - between)) / 1000 };
}

/** Numbers of the size of initial weights, made fast: drawing those of a large model takes longer than the trial. */
function someParams(backend: Backend, model: LazyTransformer): Params {
  const table = Float32Array.from({ length: 4093 }, (_, i) => 0.04 * Math.sin(i * 12.9898));
  return Object.fromEntries(
    Object.entries(model.shapes).map(([name, shape]) => {
      if (shape.length < 2) return [name, backend.full(shape, name.endsWith('tau') ? -1 : 1)];
      const values = new Float32Array(elementCount(shape));
      for (let at = 0; at < values.length; at += table.length) {
        values.set(table.subarray(0, Math.min(table.length, values.length - at)), at);
      }
      return [name, backend.tensor(values, shape)];
    }),
  );
}
