import type { AttentionOptions, Ops, Tensor } from '@lazy-attention/core';
import type { ObservedWeights, WatchingOps } from '@lazy-attention/nn';

/** Arguments of one `attention` call, as in core's `Ops`. */
export interface ObservedAttention {
  /** [B, L, H, D] */
  readonly q: Tensor;
  /** [B, S, Hkv, D] */
  readonly k: Tensor;
  /** [B, S, Hkv, D] */
  readonly v: Tensor;
  /** What the op `attention` got beside q, k and v. */
  readonly options: AttentionOptions;
  /** Of a kind that is composed of ops, how its weights are made; else they are those of the op `attention`. */
  readonly composed?: Pick<ObservedWeights, 'more' | 'weights'>;
}

/** Both are called synchronously; the tensors belong to the model and may be gone afterwards. */
export interface OpsObserver {
  /** After each `attention`, and at each layer of a composed kind that has weights; `layer` counts them from 0. */
  onAttention?(layer: number, call: ObservedAttention): void;
  /** Tensors that the observer holds, so that a scope of the model leaves them alone. Without it scopes just run. */
  held?(): unknown;
  /** Before each `rmsNorm`, with its input; `index` counts them from 0, `layer` is the number of attentions so far. */
  onHidden?(index: number, x: Tensor, layer: number): void;
}

/**
 * `ops` with a window: computes the same, and tells `observer` of every attention and of the residual stream, which in
 * a pre-norm Transformer is what enters each `rmsNorm`. Make a new one per forward pass: layers are counted from here.
 */
export function observe(ops: Ops, observer: OpsObserver): Ops {
  let attentions = 0;
  let norms = 0;
  const watched: Partial<WatchingOps> = {
    // What the observer makes is its own, so no scope takes it away.
    scope: (fn) =>
      observer.held === undefined ? fn() : ops.scope(() => ({ result: fn(), held: observer.held?.() })).result,
    // One launch would hide what is watched.
    decoder: undefined,
    onWeights: ({ q, k, v, starts, more, weights }) =>
      observer.onAttention?.(attentions++, { q, k, v, options: { starts }, composed: { more, weights } }),
    rmsNorm: (x, weight, options) => {
      observer.onHidden?.(norms++, x, attentions);
      return ops.rmsNorm(x, weight, options);
    },
    attention: (q, k, v, options = {}) => {
      const result = ops.attention(q, k, v, options);
      observer.onAttention?.(attentions++, { q, k, v, options });
      return result;
    },
  };
  return new Proxy(ops, {
    get(target, name) {
      if (name in watched) return watched[name as keyof WatchingOps];
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
