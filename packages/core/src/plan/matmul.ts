import { ShapeError } from '../errors.ts';
import type { MatmulProblem } from '../kernels.ts';
import { agreeBetween, countBetween, formatShape, type Shape } from '../shape.ts';

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
  return { problem: { batch, m: rows, n, k, transposeA, transposeB }, shape, folded };
}
