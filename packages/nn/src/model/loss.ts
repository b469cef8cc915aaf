import { formatShape, type Ops, ShapeError, type Tensor, ValueError } from '@lazy-attention/core';
import { DIRECT, type DirectOp } from '../autodiff/direct.ts';
import type { Gradients } from '../autodiff/gradients.ts';
import type { Recording } from '../autodiff/rule.ts';

/** What `chunkedLoss` divides by, and how much it does at a time. */
export interface ChunkedLossOptions {
  /** Rows of logits that exist at a time. */
  readonly rows: number;
  /** As in `CrossEntropyOptions`. */
  readonly count: number;
}

/** A range of rows. */
interface Chunk {
  readonly first: number;
  readonly end: number;
}

/**
 * Mean cross entropy (`CrossEntropyOptions.count`) of h [N, C] times weight [V, C] transposed, of which never more than
 * `rows` rows exist: forward keeps log sum exp of each row alone, backward makes the logits again. Chunks are taken in order, so the
 * weight's gradient is the sum over chunks in that order. Shape [].
 */
export function chunkedLoss(
  ops: Ops,
  h: Tensor,
  weight: Tensor,
  targets: Tensor,
  { rows, count }: ChunkedLossOptions,
): Tensor {
  if (!Number.isSafeInteger(rows) || rows < 1) {
    throw new ValueError(`loss: lossRows is ${rows}; expected a positive integer`);
  }
  if (h.shape[0] !== targets.size) {
    throw new ShapeError(`loss: targets has shape ${formatShape(targets.shape)}; expected ${h.shape[0]} rows`);
  }
  const chunks = Array.from({ length: Math.ceil(h.shape[0] / rows) }, (_, i) => ({
    first: i * rows,
    end: Math.min((i + 1) * rows, h.shape[0]),
  }));
  const op: DirectOp = {
    inputs: [h, weight, targets],
    forward(plain, inputs) {
      const parts = chunks.map((chunk) =>
        plain.scope(() => plain.crossEntropy(logitsOf(plain, inputs, chunk), part(plain, inputs[2], chunk), { count })),
      );
      const output = parts.map(({ loss }) => loss).reduce((sum, loss) => plain.add(sum, loss));
      return { output, saved: parts.map(({ lse }) => lse) };
    },
    backward: () => {
      throw new ValueError('loss: these ops record, but not with a recorder of nn');
    },
    [DIRECT]: (recording, inputs, saved) => (dy, into) =>
      chunkGradients(recording, inputs, saved, { chunks, count, dy }, into),
  };
  return ops.custom(op);
}

/**
 * Cross entropies of h [N, C] times weight [V, C] transposed, summed over chunks of rows of which the first begins at 0 and each ends before
 * a row of `ends`. Logits exist of one chunk at a time. Shapes []; targets of -100 add nothing.
 */
export function lossSums(
  ops: Ops,
  h: Tensor,
  weight: Tensor,
  targets: Tensor,
  ends: readonly number[],
): readonly Tensor[] {
  return ends.map((end, i) => {
    const chunk = { first: ends[i - 1] ?? 0, end };
    if (!Number.isSafeInteger(end) || end <= chunk.first || end > h.shape[0]) {
      throw new ValueError(
        `lossSums: ends[${i}] is ${end}; expected an integer above ${chunk.first} and at most ${h.shape[0]}`,
      );
    }
    const rows = end - chunk.first;
    return ops.scope(() => {
      const { loss } = ops.crossEntropy(logitsOf(ops, [h, weight], chunk), part(ops, targets, chunk), { count: rows });
      return ops.scale(loss, rows);
    });
  });
}

/** Rows of x. */
function part(ops: Ops, x: Tensor, { first, end }: Chunk): Tensor {
  return ops.slice(x, 0, first, end);
}

function logitsOf(ops: Ops, [h, weight]: readonly Tensor[], chunk: Chunk): Tensor {
  return ops.matmul(part(ops, h, chunk), weight, { transposeB: true });
}

/** dh = dlogits weight, dweight = dlogits^T h, chunk by chunk. */
function chunkGradients(
  { ops, nodes }: Recording,
  inputs: readonly Tensor[],
  saved: readonly Tensor[],
  { chunks, count, dy }: { readonly chunks: readonly Chunk[]; readonly count: number; readonly dy: Tensor },
  into: Gradients,
): void {
  const [h, weight, targets] = inputs;
  const [hidden, head] = [nodes['inputs[0]'], nodes['inputs[1]']];
  const dh = hidden === undefined ? undefined : ops.zeros(h.shape, h.dtype);
  for (const [i, chunk] of chunks.entries()) {
    const { dlogits, rows } = ops.scope(() => ({
      dlogits: ops.crossEntropyGrad(dy, logitsOf(ops, inputs, chunk), part(ops, targets, chunk), saved[i], { count }),
      rows: part(ops, h, chunk),
    }));
    if (dh !== undefined) ops.scope(() => ops.copyInto(dh, ops.matmul(dlogits, weight), 0, chunk.first));
    into.addProduct(head, dlogits, rows, { transposeA: true, transposeB: false }, weight.shape);
    dlogits.dispose();
    rows.dispose();
  }
  into.add(hidden, dh);
}
