import type { AttentionOptions, Ops, Tensor } from '@lazy-attention/core';

/** Arguments of one `attention` call, as in core's `Ops`. */
export interface ObservedAttention {
  /** [B, L, H, D] */
  readonly q: Tensor;
  /** [B, S, Hkv, D] */
  readonly k: Tensor;
  /** [B, S, Hkv, D] */
  readonly v: Tensor;
  readonly options: AttentionOptions;
}

/** Both are called synchronously; the tensors belong to the model and may be gone afterwards. */
export interface OpsObserver {
  /** After each `attention`; `layer` counts them from 0. */
  onAttention?(layer: number, call: ObservedAttention): void;
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
  const watched: Partial<Ops> = {
    // What the observer makes is its own, so no scope takes it away.
    scope: (fn) => fn(),
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
      if (name in watched) return watched[name as keyof Ops];
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
