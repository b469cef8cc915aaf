import { type Backend, type Ops, statisticsDType, type Tensor } from '@lazy-attention/core';
import { attentionKind } from '../attention/registry.ts';
import type { AttentionConfig } from '../model/config.ts';
import { ropeFrequencies } from '../model/rope-scaling.ts';

/** Tables [L, 1, D] of a scaled rotation, for rows from `offset` on, in the statistics type; the sine's first half is negative. */
export interface Rotation {
  /** Of both halves. */
  readonly cosines: Tensor;
  /** -sin for the first half, sin for the second. */
  readonly sines: Tensor;
}

/**
 * The tables of a config with `ropeScaling`, for all layers of a call; undefined where the op `rope` does it. Angles are
 * computed in double precision. The caller disposes them.
 */
export function scaledRotation(
  backend: Backend,
  config: AttentionConfig,
  offset: number,
  length: number,
  dtype: Tensor['dtype'],
): Rotation | undefined {
  const { attention, headDim, ropeScaling } = config;
  if (ropeScaling === null || !attentionKind(attention).rope) return undefined;
  const { perPosition, factor } = ropeFrequencies(config, offset + length);
  const half = headDim / 2;
  const [cosines, sines] = [new Float64Array(length * headDim), new Float64Array(length * headDim)];
  for (let row = 0; row < length; row++) {
    for (let d = 0; d < half; d++) {
      const angle = (offset + row) * perPosition[d];
      const at = row * headDim + d;
      cosines[at] = cosines[at + half] = factor * Math.cos(angle);
      sines[at + half] = factor * Math.sin(angle);
      sines[at] = -sines[at + half];
    }
  }
  const table = (values: Float64Array) => backend.tensor(values, [length, 1, headDim], statisticsDType(dtype));
  return { cosines: table(cosines), sines: table(sines) };
}

/** x [B, L, H, D] rotated by the tables: x * cos + (x with its halves swapped) * sin. */
export function rotate(ops: Ops, x: Tensor, { cosines, sines }: Rotation): Tensor {
  return ops.scope(() => {
    const [D, dtype] = [x.shape[3], x.dtype];
    const wide = ops.cast(x, cosines.dtype);
    const swapped = ops.concat([ops.slice(wide, 3, D / 2, D), ops.slice(wide, 3, 0, D / 2)], 3);
    const rotated = ops.binary('add', ops.binary('mul', wide, cosines), ops.binary('mul', swapped, sines));
    return ops.cast(rotated, dtype);
  });
}

/** Gives the tables back. */
export function disposeRotation(rotation: Rotation | undefined): void {
  rotation?.cosines.dispose();
  rotation?.sines.dispose();
}
