import type { Backend, Tensor } from '@lazy-attention/core';
import { isFused } from '../attention/definition.ts';
import { attentionKind } from '../attention/registry.ts';
import type { AttentionConfig } from '../model/config.ts';

/**
 * Slopes of Press et al., "Train Short, Test Long" (arXiv 2108.12409): 2^(-8 i / H) for H a power of two; otherwise those of the
 * next lower power of two, then every other one of twice that.
 */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  const slopes = Array.from({ length: power }, (_, i) => 2 ** ((-8 * (i + 1)) / power));
  const between = Array.from({ length: heads - power }, (_, i) => 2 ** ((-8 * (2 * i + 1)) / (2 * power)));
  return [...slopes, ...between];
}

/** The bias that a kind brings and does not learn, [H, width]; undefined for other kinds. The caller disposes it. */
export function fixedBias(
  backend: Backend,
  config: AttentionConfig,
  width: number,
  dtype: 'f32' | 'f64',
): Tensor | undefined {
  const kind = attentionKind(config.attention);
  return isFused(kind) && kind.fused.bias === 'alibi' ? alibiBias(backend, config.numHeads, width, dtype) : undefined;
}

/** The fixed bias -slope * distance as [H, width]. The caller disposes it. */
export function alibiBias(backend: Backend, heads: number, width: number, dtype: 'f32' | 'f64'): Tensor {
  const table = new Float64Array(heads * width);
  for (const [h, slope] of alibiSlopes(heads).entries()) {
    for (let distance = 0; distance < width; distance++) table[h * width + distance] = -slope * distance;
  }
  return backend.tensor(table, [heads, width], dtype);
}
