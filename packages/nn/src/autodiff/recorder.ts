import {
  type AttentionOptions,
  type AttentionResult,
  type Backend,
  type CrossEntropyOptions,
  type CrossEntropyResult,
  type DType,
  type ElasticSoftmaxOptions,
  type MatmulOptions,
  type Ops,
  type RmsNormOptions,
  type RopeOptions,
  type SavedAttention,
  type Shape,
  type Tensor,
  ValueError,
} from '@lazy-attention/core';
import { asRows, type Gradients } from './gradients.ts';

/** What the backward sweep does for one op: turns the gradient of its output into contributions to its inputs. */
export interface Step {
  readonly output: number;
  readonly backward: (dy: Tensor, into: Gradients, exclusive: boolean) => void;
  /** What `backward` reads, held since the forward pass and let go right after it. */
  readonly held: readonly Held[];
}

type Held = Tensor | SavedAttention;

/**
 * Runs every op on the backend and writes down how to differentiate it. An op none of whose inputs depends on a
 * parameter is not written down.
 *
 * What a step needs it holds through views of its own, so `fn` may dispose any tensor when it has no more use for it.
 */
export class Recorder implements Ops {
  readonly records = true;
  readonly #backend: Backend;
  readonly #nodes = new Map<Tensor, number>();
  /** Tensors that must not enter another op, and why. */
  readonly #refused = new Map<Tensor, string>();
  readonly steps: Step[] = [];
  #count = 0;
  #closed = false;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Declares an input of the whole function; its gradient will be that of the returned node. */
  variable(x: Tensor): number {
    const node = this.#count++;
    this.#nodes.set(x, node);
    return node;
  }

  nodeOf(op: string, name: string, x: Tensor | undefined): number | undefined {
    if (this.#closed) throw new ValueError(`${op}: ops used after the function they were given to has returned`);
    if (x === undefined) return undefined;
    const refusal = this.#refused.get(x);
    if (refusal !== undefined) throw new ValueError(`${op}: ${name} ${refusal}`);
    return this.#nodes.get(x);
  }

  close(): void {
    this.#closed = true;
  }

  /** Just runs: what a step needs is held until its gradient has been taken, and the sweep disposes the rest. */
  scope<T>(fn: () => T): T {
    return fn();
  }

  #record(output: Tensor, held: readonly Held[], backward: Step['backward']): Tensor {
    this.steps.push({ output: this.variable(output), held, backward });
    return output;
  }

  #hold(x: Tensor): Tensor {
    return this.#backend.reshape(x, x.shape);
  }

  reshape(x: Tensor, shape: Shape): Tensor {
    const node = this.nodeOf('reshape', 'x', x);
    const y = this.#backend.reshape(x, shape);
    if (node === undefined) return y;
    const original = x.shape;
    return this.#record(y, [], (dy, into, exclusive) => into.addView(node, dy, exclusive, original));
  }

  cast(x: Tensor, dtype: DType): Tensor {
    const node = this.nodeOf('cast', 'x', x);
    const y = this.#backend.cast(x, dtype);
    if (node === undefined) return y;
    const original = x.dtype;
    return this.#record(y, [], (dy, into, exclusive) =>
      // A cast to the same type is a view.
      into.add(node, this.#backend.castGrad(dy, original), exclusive || original !== dtype),
    );
  }

  slice(x: Tensor, axis: number, start: number, end: number): Tensor {
    const node = this.nodeOf('slice', 'x', x);
    const y = this.#backend.slice(x, axis, start, end);
    if (node === undefined) return y;
    const original = x.shape;
    return this.#record(y, [], (dy, into) => into.add(node, this.#backend.sliceGrad(dy, original, axis, start)));
  }

  add(a: Tensor, b: Tensor): Tensor {
    const [na, nb] = [this.nodeOf('add', 'a', a), this.nodeOf('add', 'b', b)];
    const y = this.#backend.add(a, b);
    if (na === undefined && nb === undefined) return y;
    const only = na === undefined || nb === undefined;
    return this.#record(y, [], (dy, into, exclusive) => {
      into.addView(na, dy, exclusive && only);
      into.addView(nb, dy, exclusive && only);
    });
  }

  mul(a: Tensor, b: Tensor): Tensor {
    const [na, nb] = [this.nodeOf('mul', 'a', a), this.nodeOf('mul', 'b', b)];
    const y = this.#backend.mul(a, b);
    if (na === undefined && nb === undefined) return y;
    const heldB = na === undefined ? undefined : this.#hold(b);
    const heldA = nb === undefined ? undefined : this.#hold(a);
    return this.#record(y, present(heldA, heldB), (dy, into) => {
      if (heldB !== undefined) into.add(na, this.#backend.mul(dy, heldB));
      if (heldA !== undefined) into.add(nb, this.#backend.mul(dy, heldA));
    });
  }

  scale(x: Tensor, factor: number): Tensor {
    const node = this.nodeOf('scale', 'x', x);
    const y = this.#backend.scale(x, factor);
    if (node === undefined) return y;
    return this.#record(y, [], (dy, into) => into.add(node, this.#backend.scaleGrad(dy, factor)));
  }

  sum(x: Tensor): Tensor {
    const node = this.nodeOf('sum', 'x', x);
    const y = this.#backend.sum(x);
    if (node === undefined) return y;
    const { shape, dtype } = x;
    return this.#record(y, [], (dy, into) => into.add(node, this.#backend.sumGrad(dy, shape, dtype)));
  }

  /**
   * As on a backend, but `accumulate` is left as it was and the sum is a new tensor: an earlier op may need the old
   * values. So that nobody takes the old tensor for the sum, it is refused from here on.
   */
  matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
    const [na, nb] = [this.nodeOf('matmul', 'a', a), this.nodeOf('matmul', 'b', b)];
    const { accumulate, ...transposes } = options;
    const nc = this.nodeOf('matmul', 'accumulate', accumulate);
    const y =
      accumulate === undefined ? this.#backend.matmul(a, b, options) : this.#addProduct(a, b, accumulate, options);
    if (na === undefined && nb === undefined && nc === undefined) return y;
    const heldB = na === undefined ? undefined : this.#hold(b);
    const heldA = nb === undefined ? undefined : this.#hold(a);
    const { transposeA = false, transposeB = false } = transposes;
    const [aShape, bShape] = [a.shape, b.shape];
    return this.#record(y, present(heldA, heldB), (dy, into, exclusive) => {
      // A b of two axes serves all leading entries of a, which then count as rows.
      const folded = bShape.length === 2 && aShape.length > 2;
      const dy2 = folded ? asRows(this.#backend, dy) : dy;
      if (heldB !== undefined) {
        if (transposeA) into.addProduct(na, heldB, dy2, { transposeA: transposeB, transposeB: true }, aShape);
        else into.addProduct(na, dy2, heldB, { transposeB: !transposeB }, aShape);
      }
      if (heldA !== undefined) {
        const a2 = folded ? asRows(this.#backend, heldA) : heldA;
        if (transposeB) into.addProduct(nb, dy2, a2, { transposeA: true, transposeB: transposeA }, bShape);
        else into.addProduct(nb, a2, dy2, { transposeA: !transposeA }, bShape);
        if (folded) a2.dispose();
      }
      if (folded) dy2.dispose();
      into.addView(nc, dy, exclusive);
    });
  }

  #addProduct(a: Tensor, b: Tensor, accumulate: Tensor, options: MatmulOptions): Tensor {
    if (accumulate === a || accumulate === b) {
      throw new ValueError('matmul: accumulate shares memory with an operand; copy it first');
    }
    const copy = this.#backend.scale(accumulate, 1);
    this.#backend.matmul(a, b, { ...options, accumulate: copy });
    this.#refused.set(accumulate, 'was given to matmul as accumulate; use the tensor that matmul returned');
    return copy;
  }

  rmsNorm(x: Tensor, weight: Tensor, options: RmsNormOptions = {}): Tensor {
    const [nx, nw] = [this.nodeOf('rmsNorm', 'x', x), this.nodeOf('rmsNorm', 'weight', weight)];
    const y = this.#backend.rmsNorm(x, weight, options);
    if (nx === undefined && nw === undefined) return y;
    const [heldX, heldW] = [this.#hold(x), this.#hold(weight)];
    return this.#record(y, [heldX, heldW], (dy, into) => {
      const { dx, dweight } = this.#backend.rmsNormGrad(dy, heldX, heldW, options);
      into.add(nx, dx);
      into.add(nw, dweight);
    });
  }

  rope(x: Tensor, options: RopeOptions = {}): Tensor {
    const node = this.nodeOf('rope', 'x', x);
    const y = this.#backend.rope(x, options);
    if (node === undefined) return y;
    return this.#record(y, [], (dy, into) => into.add(node, this.#backend.ropeGrad(dy, options)));
  }

  /** `saved` in the result is empty: the tape keeps its own. */
  attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): AttentionResult {
    const nodes = {
      q: this.nodeOf('attention', 'q', q),
      k: this.nodeOf('attention', 'k', k),
      v: this.nodeOf('attention', 'v', v),
      bias: this.nodeOf('attention', 'bias', options.bias),
      tau: this.nodeOf('attention', 'tau', options.tau),
    };
    if (Object.values(nodes).every((node) => node === undefined)) {
      return this.#backend.attention(q, k, v, { save: false, ...options });
    }
    if (options.save === false) {
      throw new ValueError('attention: save is false, and an input needs a gradient; leave save out');
    }
    const { output, saved } = this.#backend.attention(q, k, v, options);
    this.#record(output, [saved], (dy, into) => {
      const grads = this.#backend.attentionGrad(dy, saved);
      into.add(nodes.q, grads.dq);
      into.add(nodes.k, grads.dk);
      into.add(nodes.v, grads.dv);
      into.add(nodes.bias, grads.dbias);
      into.add(nodes.tau, grads.dtau);
    });
    return { output, saved: new EmptySaved() };
  }

  elasticSoftmax(scores: Tensor, options: ElasticSoftmaxOptions = {}): Tensor {
    const ns = this.nodeOf('elasticSoftmax', 'scores', scores);
    const nt = this.nodeOf('elasticSoftmax', 'tau', options.tau);
    const y = this.#backend.elasticSoftmax(scores, options);
    if (ns === undefined && nt === undefined) return y;
    const heldScores = this.#hold(scores);
    const tau = options.tau === undefined ? undefined : this.#hold(options.tau);
    const starts = options.starts === undefined ? undefined : this.#hold(options.starts);
    return this.#record(y, present(heldScores, tau, starts), (dy, into) => {
      const { dscores, dtau } = this.#backend.elasticSoftmaxGrad(dy, heldScores, { tau, starts });
      into.add(ns, dscores);
      into.add(nt, dtau);
    });
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    const [ng, nu] = [this.nodeOf('swiglu', 'gate', gate), this.nodeOf('swiglu', 'up', up)];
    const y = this.#backend.swiglu(gate, up);
    if (ng === undefined && nu === undefined) return y;
    const [heldGate, heldUp] = [this.#hold(gate), this.#hold(up)];
    return this.#record(y, [heldGate, heldUp], (dy, into) => {
      const { dgate, dup } = this.#backend.swigluGrad(dy, heldGate, heldUp);
      into.add(ng, dgate);
      into.add(nu, dup);
    });
  }

  embedding(weight: Tensor, ids: Tensor): Tensor {
    const node = this.nodeOf('embedding', 'weight', weight);
    this.nodeOf('embedding', 'ids', ids);
    const y = this.#backend.embedding(weight, ids);
    if (node === undefined) return y;
    const held = this.#hold(ids);
    const vocabulary = weight.shape[0];
    return this.#record(y, [held], (dy, into) => into.add(node, this.#backend.embeddingGrad(dy, held, vocabulary)));
  }

  /** Only `loss` is differentiable; `lse` is refused by every other op. */
  crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): CrossEntropyResult {
    const node = this.nodeOf('crossEntropy', 'logits', logits);
    this.nodeOf('crossEntropy', 'targets', targets);
    const result = this.#backend.crossEntropy(logits, targets, options);
    if (node === undefined) return result;
    const [heldLogits, heldTargets, lse] = [this.#hold(logits), this.#hold(targets), this.#hold(result.lse)];
    this.#refused.set(result.lse, 'is lse of crossEntropy, which is not differentiable; only loss is');
    this.#record(result.loss, [heldLogits, heldTargets, lse], (dy, into) =>
      into.add(node, this.#backend.crossEntropyGrad(dy, heldLogits, heldTargets, lse, options)),
    );
    return result;
  }
}

class EmptySaved implements SavedAttention {
  disposed = false;

  dispose(): void {
    this.disposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function present(...held: (Tensor | undefined)[]): Tensor[] {
  return held.filter((tensor) => tensor !== undefined);
}
