import { type Backend, type Tensor, ValueError } from '@lazy-attention/core';
import type { Communicator } from '../distributed/communicator.ts';
import { disposeParams, type Params } from '../params.ts';
import { type AdamWConfig, type AdamWState, adamWOver, checkLike } from './adamw.ts';

/** AdamW whose state is cut over the ranks (ZeRO-1, arXiv 1910.02054). */
export interface ShardedAdamW {
  /** Taken so far. */
  readonly steps: number;
  /**
   * As `AdamW.step`, with the gradients of the whole batch, the same on every rank: each updates its part of every parameter and gets
   * the others' from them. Bit for bit what `adamW` does. All ranks call it.
   */
  step(grads: Params, learningRate: number): Promise<{ readonly gradNormSquared: Tensor }>;
  /**
   * The state of all ranks together, as `adamW` would have it. All ranks call it; rank 0 gets it and disposes its tensors, the others
   * get null.
   */
  gather(): Promise<AdamWState | null>;
  /** Disposes this rank's m and v, not the parameters. */
  dispose(): void;
}

/** Entries [begin, end) of a tensor of `size` that rank `rank` of `of` updates. */
export function shardOf(size: number, rank: number, of: number): { readonly begin: number; readonly end: number } {
  return { begin: Math.floor((size * rank) / of), end: Math.floor((size * (rank + 1)) / of) };
}

/**
 * AdamW over `params`, equal on all ranks, of whose m and v each rank keeps its part of every parameter: `size / ranks` entries,
 * rounded down or up. `config.state` is the whole one, of which the rank takes its part; it is used up.
 */
export function shardedAdamW(
  backend: Backend,
  params: Params,
  communicator: Communicator,
  config: AdamWConfig = {},
): ShardedAdamW {
  const { rank, size: ranks } = communicator;
  if (Object.keys(params).length === 0) throw new ValueError('shardedAdamW: params is empty');
  const { state: whole, ...rest } = config;
  if (whole !== undefined) {
    checkLike('state.m', whole.m, params);
    checkLike('state.v', whole.v, params);
  }
  const own = (tensors: Params): Params => partsOf(backend, tensors, params, rank, ranks);
  const state = whole && { steps: whole.steps, m: own(whole.m), v: own(whole.v) };
  if (whole !== undefined) for (const moments of [whole.m, whole.v]) disposeParams(moments);
  const first = own(params);
  const inner = adamWOver(backend, first, params, { ...rest, ...(state && { state }) });
  disposeParams(first);

  return {
    get steps() {
      return inner.state().steps;
    },
    async step(grads, learningRate) {
      checkLike('grads', grads, params);
      const gradNormSquared = backend.sumSquares(Object.keys(params).map((name) => grads[name]));
      const [mine, slopes] = [own(params), own(grads)];
      try {
        inner.update(mine, slopes, gradNormSquared, learningRate);
        for (let root = 0; root < ranks; root++) {
          const values = await fromRank(communicator, root, mine, params);
          backend.scope(() => {
            for (const [name, { begin, data }] of values) {
              const flat = backend.reshape(params[name], [params[name].size]);
              backend.copyInto(flat, backend.tensor(data, [data.length], params[name].dtype), 0, begin);
            }
          });
        }
      } catch (error) {
        gradNormSquared.dispose();
        throw error;
      } finally {
        disposeParams(slopes);
        disposeParams(mine);
      }
      return { gradNormSquared };
    },
    async gather() {
      const { steps, m, v } = inner.state();
      const moments = [
        await gathered(backend, communicator, m, params),
        await gathered(backend, communicator, v, params),
      ];
      const [means, squares] = moments;
      return means == null || squares == null ? null : { steps, m: means, v: squares };
    },
    dispose: () => inner.dispose(),
  };
}

/** Copies of a rank's parts, flat, by name; of a tensor with fewer entries than ranks some have none. */
export function partsOf(backend: Backend, tensors: Params, params: Params, rank: number, of: number): Params {
  return backend.scope(() =>
    Object.fromEntries(
      Object.keys(params).flatMap((name) => {
        const tensor = tensors[name];
        const { begin, end } = shardOf(tensor.size, rank, of);
        if (begin === end) return [];
        return [[name, backend.slice(backend.reshape(tensor, [tensor.size]), 0, begin, end)]];
      }),
    ),
  );
}

interface Part {
  readonly begin: number;
  readonly data: Float32Array;
}

/** The parts of rank `root`, whose own they are; all ranks get them. */
async function fromRank(
  communicator: Communicator,
  root: number,
  own: Params,
  params: Params,
): Promise<Map<string, Part>> {
  const { rank, size } = communicator;
  const shards = Object.keys(params)
    .map((name) => ({ name, ...shardOf(params[name].size, root, size) }))
    .filter(({ begin, end }) => end > begin);
  const all = new Float32Array(shards.reduce((total, { begin, end }) => total + end - begin, 0));
  const parts = new Map<string, Part>();
  let at = 0;
  for (const { name, begin, end } of shards) {
    parts.set(name, { begin, data: all.subarray(at, at + end - begin) });
    at += end - begin;
  }
  if (rank === root) {
    const read = await Promise.all(shards.map(({ name }) => own[name].data()));
    for (const [i, { name }] of shards.entries()) parts.get(name)?.data.set(read[i] as Float32Array);
  }
  await communicator.broadcast(new Uint8Array(all.buffer), root);
  return parts;
}

/** Tensors of all ranks' parts put together, on rank 0; null on the others. */
async function gathered(
  backend: Backend,
  communicator: Communicator,
  own: Params,
  params: Params,
): Promise<Params | null> {
  const leads = communicator.rank === 0;
  const whole = new Map(leads ? Object.entries(params).map(([name, { size }]) => [name, new Float32Array(size)]) : []);
  let dtype = Object.values(own)[0]?.dtype;
  for (let root = 0; root < communicator.size; root++) {
    for (const [name, { begin, data }] of await fromRank(communicator, root, own, params)) {
      whole.get(name)?.set(data, begin);
    }
  }
  if (!leads) return null;
  dtype ??= 'f32';
  return Object.fromEntries(
    [...whole].map(([name, values]) => [name, backend.tensor(values, params[name].shape, dtype)]),
  );
}
