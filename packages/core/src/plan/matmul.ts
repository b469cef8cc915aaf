import { ShapeError } from '../errors.ts';
import type { MatmulProblem } from '../kernels.ts';
import { elementCount, formatShape, type Shape, sameShape } from '../shape.ts';

export interface MatmulPlan {
  readonly problem: MatmulProblem;
  readonly shape: Shape;
  /** True when a two-dimensional b serves all leading entries of a, which then count as rows. */
  readonly folded: boolean;
}

/** Turns shapes and transposes into the one three-dimensional problem that kernels know. */
export function planMatmul(op: string, a: Shape, b: Shape, transposeA: boolean, transposeB: boolean): MatmulPlan {
  if (a.length < 2) throw new ShapeError(`${op}: a has shape ${formatShape(a)}; expected at least two axes`);
  if (b.length < 2) throw new ShapeError(`${op}: b has shape ${formatShape(b)}; expected at least two axes`);
  const [aRows, aColumns] = a.slice(-2) as [number, number];
  const [bRows, bColumns] = b.slice(-2) as [number, number];
  const lead = a.slice(0, -2);
  const folded = b.length === 2 && a.length > 2;
  if (folded && transposeA) {
    throw new ShapeError(
      `${op}: a has shape ${formatShape(a)} and b ${formatShape(b)}; transposeA with a shared b is not defined; reshape a to two axes first`,
    );
  }
  if (!folded && !sameShape(lead, b.slice(0, -2))) {
    throw new ShapeError(
      `${op}: a has shape ${formatShape(a)} and b ${formatShape(b)}; leading sizes must be equal, or b must have two axes`,
    );
  }
  const m = transposeA ? aColumns : aRows;
  const k = transposeA ? aRows : aColumns;
  const n = transposeB ? bRows : bColumns;
  const bInner = transposeB ? bColumns : bRows;
  if (k !== bInner) {
    throw new ShapeError(
      `${op}: a has shape ${formatShape(a)}${transposeA ? ' (transposed)' : ''} and b ${formatShape(b)}${transposeB ? ' (transposed)' : ''}; inner sizes ${k} and ${bInner} differ`,
    );
  }
  const batch = folded ? 1 : elementCount(lead);
  const rows = folded ? elementCount(lead) * m : m;
  return { problem: { batch, m: rows, n, k, transposeA, transposeB }, shape: [...lead, m, n], folded };
}
