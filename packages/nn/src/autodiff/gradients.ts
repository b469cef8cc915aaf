import type { Backend, MatmulOptions, Shape, Tensor } from '@lazy-attention/core';

/** A gradient under construction. `exclusive`: no other tensor looks at its memory, so it may be added to in place. */
export interface Gradient {
  readonly tensor: Tensor;
  readonly exclusive: boolean;
}

/** The gradients of all nodes that the backward sweep has reached and not yet used. Owns them. */
export class Gradients {
  readonly #backend: Backend;
  readonly #cells = new Map<number, Gradient>();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Hands the finished gradient of `node` to the caller, who disposes it. */
  take(node: number): Gradient | undefined {
    const cell = this.#cells.get(node);
    this.#cells.delete(node);
    return cell;
  }

  /** Adds a contribution and takes ownership of it. A node of `undefined` needs no gradient. */
  add(node: number | undefined, tensor: Tensor | undefined, exclusive = true): void {
    if (tensor === undefined) return;
    if (node === undefined) {
      tensor.dispose();
      return;
    }
    const cell = this.#cells.get(node);
    if (cell === undefined) {
      this.#cells.set(node, { tensor, exclusive });
      return;
    }
    this.#cells.set(node, { tensor: this.#backend.add(cell.tensor, tensor), exclusive: true });
    cell.tensor.dispose();
    tensor.dispose();
  }

  /** Adds `dy`, as `shape`, without a copy. `exclusive` when the caller drops its own handle and hands out no other. */
  addView(node: number | undefined, dy: Tensor, exclusive: boolean, shape: Shape = dy.shape): void {
    if (node !== undefined) this.add(node, this.#backend.reshape(dy, shape), exclusive);
  }

  /** Adds the product of a and b, as `shape`: inside the matmul where the gradient so far may be written to. */
  addProduct(node: number | undefined, a: Tensor, b: Tensor, options: MatmulOptions, shape: Shape): void {
    if (node === undefined) return;
    const cell = this.#cells.get(node);
    if (cell?.exclusive !== true) {
      const product = this.#backend.matmul(a, b, options);
      this.add(node, this.#backend.reshape(product, shape));
      product.dispose();
      return;
    }
    const accumulate = a.shape.length === 2 ? asRows(this.#backend, cell.tensor) : cell.tensor;
    this.#backend.matmul(a, b, { ...options, accumulate });
    if (accumulate !== cell.tensor) accumulate.dispose();
  }
}

/** A view of x [..., C] as [rows, C]. */
export function asRows(backend: Backend, x: Tensor): Tensor {
  const width = x.shape[x.shape.length - 1];
  return backend.reshape(x, [x.size / width, width]);
}
