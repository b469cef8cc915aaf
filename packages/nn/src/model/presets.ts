import { ConfigError } from '../errors.ts';
import type { LazyTransformerOptions } from './config.ts';

const BYTES = 256;

/**
 * Sizes by name. `one-head` has one head and next to no MLP, so that what the head does with nothing to look at shows (arXiv 2410.13835). `pico` is for the reference backend, `nano`, `micro` and `small` for one CPU. The others are those usual in
 * papers on architectures, in the layout of flash-linear-attention, whose LM head is untied: with it and the embeddings
 * they have 374 M, 778 M and 1.36 G parameters (`parameterCount`).
 */
const SIZES = {
  'one-head': { vocabSize: BYTES, hiddenSize: 64, numLayers: 1, numHeads: 1, intermediateSize: 4, context: 64 },
  pico: { vocabSize: BYTES, hiddenSize: 64, numLayers: 2, numHeads: 2, context: 64 },
  nano: { vocabSize: BYTES, hiddenSize: 128, numLayers: 4, numHeads: 4, context: 256 },
  micro: { vocabSize: BYTES, hiddenSize: 256, numLayers: 6, numHeads: 4, context: 512 },
  small: { vocabSize: BYTES, hiddenSize: 512, numLayers: 8, numHeads: 8, context: 1024 },
  '340m': { vocabSize: 32000, hiddenSize: 1024, numLayers: 24, numHeads: 16, context: 4096 },
  '760m': { vocabSize: 32000, hiddenSize: 1536, numLayers: 24, numHeads: 16, context: 4096 },
  '1.3b': { vocabSize: 32000, hiddenSize: 2048, numLayers: 24, numHeads: 32, context: 4096 },
} as const satisfies Record<string, LazyTransformerOptions>;

/** One of `PRESETS`. */
export type PresetName = keyof typeof SIZES;

/** Names that `preset` knows. */
export const PRESETS = Object.keys(SIZES) as readonly PresetName[];

/** Options for `lazyTransformer`. @throws ConfigError for a name that is not in `PRESETS`. */
export function preset(name: string, overrides: Partial<LazyTransformerOptions> = {}): LazyTransformerOptions {
  if (!Object.hasOwn(SIZES, name)) {
    throw new ConfigError(`preset: unknown preset '${name}'; expected one of ${PRESETS.join(', ')}`);
  }
  return { ...SIZES[name as PresetName], ...defined(overrides) };
}

/** A key given as undefined, as parsed flags often are, is a key left out. */
function defined(overrides: Partial<LazyTransformerOptions>): Partial<LazyTransformerOptions> {
  return Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
}
