import { checkFloat, checkShapeIs, checkWeight } from '../checks.ts';
import type { MatmulProblem } from '../contract/kernels.ts';
import { isPacked } from '../dtype.ts';
import { ShapeError, ValueError } from '../errors.ts';
import { kernelTensor, type TensorStore } from '../lifetimes/store.ts';
import { Tensor } from '../lifetimes/tensor.ts';
import {
  agreeBetween,
  checkFlag,
  checkOptions,
  checkShape,
  countBetween,
  formatShape,
  type Shape,
  sameShape,
} from '../shape.ts';
import { reshape } from './storage.ts';

/** How the operands are stored, and where the product goes. */
export interface MatmulOptions {
  /** a is stored [..., K, M]. */
  readonly transposeA?: boolean;
  /** b is stored [..., N, K]. */
  readonly transposeB?: boolean;
  /** Adds the product to this tensor in place and returns it. */
  readonly accumulate?: Tensor;
}

/** Products of matrices. */
export interface MatmulOps {
  /**
   * a [..., M, K] times b [..., K, N]; with `transposeA` a is stored [..., K, M], with `transposeB` b is [..., N, K].
   * Leading sizes are equal, or b has none and serves all of a (a linear layer: `matmul(x, w, { transposeB: true })`),
   * and may then be packed weights, beside f32.
   */
  matmul(a: Tensor, b: Tensor, options?: MatmulOptions): Tensor;
}

/** The gradient of `MatmulOps`. */
export interface MatmulGradOps {
  /** Like a and b; options as `matmul` took them. */
  matmulGrad(dy: Tensor, a: Tensor, b: Tensor, options?: Omit<MatmulOptions, 'accumulate'>): { da: Tensor; db: Tensor };
}

/** As `MatmulOps.matmul`. */
export function matmul(store: TensorStore, a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  checkOptions('matmul', options, ['transposeA', 'transposeB', 'accumulate']);
  const { transposeA = false, transposeB = false, accumulate } = options;
  checkFlags('matmul', transposeA, transposeB);
  const packed = transposeB && !transposeA && Tensor.is(b) && isPacked(b.dtype);
  if (packed) checkPackedProduct(store, a, b, accumulate);
  else if (accumulate === undefined) checkFloat(store, 'matmul', ['a', 'b'], [a, b]);
  else checkFloat(store, 'matmul', ['a', 'b', 'accumulate'], [a, b, accumulate]);
  const { problem, shape } = planMatmul('matmul', a.shape, b.shape, transposeA, transposeB);
  if (accumulate === undefined) {
    return store.wrap(store.kernels.matmul(kernelTensor(a), kernelTensor(b), problem, null), shape, a.dtype);
  }
  if (!sameShape(accumulate.shape, shape)) {
    throw new ShapeError(
      `matmul: accumulate has shape ${formatShape(accumulate.shape)}; the product is ${formatShape(shape)}`,
    );
  }
  if (accumulate.storage === a.storage || accumulate.storage === b.storage) {
    throw new ValueError('matmul: accumulate shares memory with an operand; copy it first');
  }
  store.kernels.matmul(kernelTensor(a), kernelTensor(b), problem, kernelTensor(accumulate));
  accumulate.storage.version++;
  return accumulate;
}

function checkPackedProduct(store: TensorStore, a: Tensor, b: Tensor, accumulate: Tensor | undefined): void {
  if (accumulate === undefined) checkFloat(store, 'matmul', ['a'], [a]);
  else checkFloat(store, 'matmul', ['a', 'accumulate'], [a, accumulate]);
  checkWeight(store, 'matmul', 'b', b, a.dtype);
}

/** As `MatmulGradOps.matmulGrad`. */
export function matmulGrad(
  store: TensorStore,
  dy: Tensor,
  a: Tensor,
  b: Tensor,
  options: Omit<MatmulOptions, 'accumulate'> = {},
): { da: Tensor; db: Tensor } {
  checkOptions('matmulGrad', options, ['transposeA', 'transposeB']);
  const { transposeA = false, transposeB = false } = options;
  checkFlags('matmulGrad', transposeA, transposeB);
  checkFloat(store, 'matmulGrad', ['dy', 'a', 'b'], [dy, a, b]);
  const { shape, folded } = planMatmul('matmulGrad', a.shape, b.shape, transposeA, transposeB);
  checkShapeIs('matmulGrad', 'dy', dy, shape);
  return store.scope(() => {
    // A shared b sees all leading entries of a as rows, in the product and in its gradient.
    const rowsOf = (x: Tensor) =>
      folded ? reshape(store, x, [x.size / x.shape[x.shape.length - 1], x.shape[x.shape.length - 1]]) : x;
    const [a2, dy2] = [rowsOf(a), rowsOf(dy)];
    const da = transposeA
      ? matmul(store, b, dy2, { transposeA: transposeB, transposeB: true })
      : matmul(store, dy2, b, { transposeB: !transposeB });
    const db = transposeB
      ? matmul(store, dy2, a2, { transposeA: true, transposeB: transposeA })
      : matmul(store, a2, dy2, { transposeA: !transposeA });
    return { da: reshape(store, da, a.shape), db };
  });
}

function checkFlags(op: string, transposeA: boolean, transposeB: boolean): void {
  checkFlag(op, 'transposeA', transposeA);
  checkFlag(op, 'transposeB', transposeB);
}

/** What shapes and transposes come to. */
interface MatmulPlan {
  readonly problem: MatmulProblem;
  readonly shape: Shape;
  /** True when a two-dimensional b serves all leading entries of a, which then count as rows. */
  readonly folded: boolean;
}

/** Turns shapes and transposes into the one three-dimensional problem that kernels know. */
function planMatmul(op: string, a: Shape, b: Shape, transposeA: boolean, transposeB: boolean): MatmulPlan {
  if (a.length < 2) throw new ShapeError(`${op}: a has shape ${formatShape(a)}; expected at least two axes`);
  if (b.length < 2) throw new ShapeError(`${op}: b has shape ${formatShape(b)}; expected at least two axes`);
  const lead = a.length - 2;
  const bLead = b.length - 2;
  const folded = bLead === 0 && lead > 0;
  if (folded && transposeA) {
    throw new ShapeError(
      `${op}: a has shape ${formatShape(a)} and b ${formatShape(b)}; transposeA with a shared b is not defined; reshape a to two axes first`,
    );
  }
  if (!folded && !(lead === bLead && agreeBetween(a, b, 0, lead))) {
    throw new ShapeError(
      `${op}: a has shape ${formatShape(a)} and b ${formatShape(b)}; leading sizes must be equal, or b must have two axes`,
    );
  }
  const m = a[transposeA ? lead + 1 : lead];
  const k = a[transposeA ? lead : lead + 1];
  const n = b[transposeB ? bLead : bLead + 1];
  const bInner = b[transposeB ? bLead + 1 : bLead];
  if (k !== bInner) {
    throw new ShapeError(
      `${op}: a has shape ${formatShape(a)}${transposeA ? ' (transposed)' : ''} and b ${formatShape(b)}${transposeB ? ' (transposed)' : ''}; inner sizes ${k} and ${bInner} differ`,
    );
  }
  const matrices = countBetween(a, 0, lead);
  const batch = folded ? 1 : matrices;
  const rows = folded ? matrices * m : m;
  const shape = [...a];
  shape[lead] = m;
  shape[lead + 1] = n;
  checkShape(op, shape);
  return { problem: { batch, m: rows, n, k, transposeA, transposeB }, shape, folded };
}
