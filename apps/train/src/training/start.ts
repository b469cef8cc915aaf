import type { Backend, Tensor } from '@lazy-attention/core';
import { disposeParams, type LazyTransformer, lazyTransformer, type Params, uniform } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { openArgument } from '../run/model.ts';
import type { RunRecord } from '../run/record.ts';

/** Bias and tau of attention, as nn names them. */
export const STATISTICS = /\.attn\.(bias|tau)$/;

/**
 * The first parameters of a run: drawn from its seed, or those of the model that it starts from. A softmax model becomes a lazy one
 * that is the same function: its bias and tau begin at 0. The caller disposes them.
 * @throws UsageError where the run's model has parameters that the other one cannot give
 */
export async function firstParams(backend: Backend, record: RunRecord, model: LazyTransformer): Promise<Params> {
  const params = await drawnOrRead(backend, record, model);
  const { tau } = record.start ?? {};
  if (tau !== undefined) setTau(backend, params, tau);
  return params;
}

async function drawnOrRead(backend: Backend, record: RunRecord, model: LazyTransformer): Promise<Params> {
  if (record.start?.from === undefined) return initialParams(backend, record, model);
  const { from } = record.start;
  const { opened } = await openArgument(from);
  try {
    const { params } = await opened.load(backend);
    try {
      return complete(backend, from, model, params);
    } catch (error) {
      disposeParams(params);
      throw error;
    }
  } finally {
    await opened.close();
  }
}

/** Whether the parameter is the offset of Elastic-Softmax. */
function isTau(name: string): boolean {
  return name.endsWith('.attn.tau');
}

function setTau(backend: Backend, params: Params, value: number): void {
  for (const [name, tau] of Object.entries(params)) {
    if (isTau(name)) backend.scope(() => backend.copyInto(tau, backend.full(tau.shape, value, tau.dtype), 0, 0));
  }
}

/** Whether a model has a tau. */
export function hasTau(model: LazyTransformer): boolean {
  return Object.keys(model.shapes).some(isTau);
}

/** Whether a model's attention has a bias that is learned. */
export function hasBias(model: LazyTransformer): boolean {
  return Object.keys(model.shapes).some((name) => name.endsWith('.attn.bias'));
}

/** Drawn from the seed, with the recipe's bias. */
function initialParams(backend: Backend, { training }: RunRecord, model: LazyTransformer): Params {
  const { seed, biasInit = 0 } = training;
  const params: Record<string, Tensor> = { ...model.init(backend, seed) };
  for (const [name, old] of Object.entries(params)) {
    if (!name.endsWith('.attn.bias') || biasInit === 0) continue;
    params[name] = backend.tensor(gaussian(old.size, biasInit, uniform(seed, name)), old.shape, old.dtype);
    old.dispose();
  }
  return params;
}

/** Box and Muller's. */
function gaussian(size: number, deviation: number, random: () => number): Float32Array {
  return Float32Array.from(
    { length: size },
    () => deviation * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}

/** `params` with a bias and a tau of 0 where the model has one and they have not. */
function complete(backend: Backend, from: string, model: LazyTransformer, params: Params): Params {
  const known = new Set(Object.keys(model.shapes));
  const extra = Object.keys(params).filter((name) => !known.has(name));
  const missing = Object.keys(model.shapes).filter((name) => params[name] === undefined);
  const strange = missing.filter((name) => !STATISTICS.test(name));
  if (extra.length > 0 || strange.length > 0) {
    const { attention } = model.config;
    const what = extra.length > 0 ? `has ${extra[0]}, which` : `lacks ${strange[0]}, which`;
    throw new UsageError(
      `train: ${from} ${what} ${attention} attention ${extra.length > 0 ? 'has no place for' : 'needs'}; choose another --attention`,
    );
  }
  const added = missing.map((name) => [name, backend.zeros(model.shapes[name] as readonly number[], 'f32')] as const);
  const all: Record<string, Tensor> = { ...params, ...Object.fromEntries(added) };
  // In the model's order: checkpoints and optimisers go by it.
  return Object.fromEntries(Object.keys(model.shapes).map((name) => [name, all[name] as Tensor]));
}

/** Whether the optimiser moves a parameter. */
export function isTrained(name: string, which: NonNullable<RunRecord['start']>['trainOnly'] = 'all'): boolean {
  if (which === 'attention') return name.includes('.attn.') || name.includes('.attn_norm.');
  return which === 'all' || STATISTICS.test(name);
}

/** Which parameters the optimiser moves; the others stay as they are. */
export function trainable(params: Params, which: NonNullable<RunRecord['start']>['trainOnly']): Params {
  const entries = Object.entries(params).filter(([name]) => isTrained(name, which));
  if (entries.length > 0) return Object.fromEntries(entries);
  throw new UsageError(`train: --train-only ${which} leaves nothing to train: this attention has no bias and no tau`);
}

/** How far tau has come after `step` steps of its schedule: 0 until `start`, -1 from `end` on, a straight line between. */
export function annealed(step: number, [start, end]: readonly [number, number]): number {
  return -Math.min(1, Math.max(0, (step - start) / (end - start)));
}

/**
 * Moves every tau by what the schedule goes in this step, so that it can be learned as well.
 * @returns whether anything moved
 */
export function annealTau(
  backend: Backend,
  params: Params,
  step: number,
  schedule: readonly [number, number],
): boolean {
  const move = annealed(step, schedule) - annealed(step - 1, schedule);
  if (move === 0) return false;
  for (const [name, tau] of Object.entries(params)) {
    if (!isTau(name)) continue;
    backend.scope(() => {
      backend.copyInto(tau, backend.add(tau, backend.full(tau.shape, move, tau.dtype)), 0, 0);
    });
  }
  return true;
}

/** A model's own configuration with what the run changes of it. */
export function startConfig(
  from: LazyTransformer['config'],
  changes: {
    readonly attention?: string | undefined;
    readonly window?: number | undefined;
    readonly context: number;
    readonly computeDType: LazyTransformer['config']['computeDType'];
  },
): LazyTransformer['config'] {
  if (changes.context > from.context) {
    throw new UsageError(
      `train: --context is ${changes.context}; the model was made for ${from.context} tokens; choose at most that`,
    );
  }
  return lazyTransformer({
    ...from,
    context: changes.context,
    computeDType: changes.computeDType,
    window: changes.window ?? Math.min(from.window, changes.context),
    attention: changes.attention ?? from.attention,
  }).config;
}
