import type { LazyTransformerOptions } from '@lazy-attention/nn';

/** Rotary scaling, as `ropeScaling` of nn. */
export type RopeScaling = { readonly type: string; readonly factor: number; readonly [key: string]: unknown };

/** nn's options with those that it is about to have. */
export type ModelOptions = LazyTransformerOptions & {
  readonly ropeScaling?: RopeScaling | null;
  readonly attentionBias?: 'qkv' | 'qkvo' | null;
  readonly mlpBias?: boolean;
  readonly qkNorm?: boolean;
  readonly slidingWindow?: number | null;
  readonly noRopeLayers?: readonly number[];
  readonly fullAttentionLayers?: readonly number[];
};

/** Without what is at its default, which nn need not know yet. */
export function known(options: ModelOptions): LazyTransformerOptions {
  const idle = ([key, value]: [string, unknown]) =>
    /^(ropeScaling|attentionBias|mlpBias|qkNorm|slidingWindow|noRopeLayers|fullAttentionLayers)$/.test(key) &&
    (value === null || value === false || (Array.isArray(value) && value.length === 0));
  return Object.fromEntries(
    Object.entries(options).filter((entry) => !idle(entry)),
  ) as unknown as LazyTransformerOptions;
}
