import { attentionKinds, isAttentionKind } from '../attention/registry.ts';
import { ConfigError } from '../errors.ts';
import type {
  AttentionConfig,
  AttentionOptionsInput,
  LazyTransformerConfig,
  LazyTransformerOptions,
} from './config.ts';

const ATTENTION_KEYS = ['hiddenSize', 'numHeads', 'numKvHeads', 'headDim', 'attention', 'window', 'ropeBase'] as const;
const MODEL_KEYS = [
  ...ATTENTION_KEYS,
  'vocabSize',
  'numLayers',
  'context',
  'intermediateSize',
  'tieEmbeddings',
  'normEpsilon',
  'initStd',
  'computeDType',
] as const;

/** Fills in defaults and checks. @throws ConfigError */
export function resolveConfig(options: LazyTransformerOptions): LazyTransformerConfig {
  checkKeys('lazyTransformer', options, MODEL_KEYS);
  const { vocabSize, numLayers, context, hiddenSize } = options;
  for (const [name, value] of Object.entries({ vocabSize, numLayers, context }))
    checkSize('lazyTransformer', name, value);
  const attention = resolveAttention('lazyTransformer', options, Math.min(512, context));
  const {
    intermediateSize = defaultIntermediate(hiddenSize),
    tieEmbeddings = false,
    normEpsilon = 1e-6,
    initStd = 0.02,
    computeDType = null,
  } = options;
  checkSize('lazyTransformer', 'intermediateSize', intermediateSize);
  checkPositive('lazyTransformer', 'normEpsilon', normEpsilon);
  checkPositive('lazyTransformer', 'initStd', initStd);
  if (typeof tieEmbeddings !== 'boolean') {
    throw new ConfigError(`lazyTransformer: tieEmbeddings is ${shown(tieEmbeddings)}; expected true or false`);
  }
  if (computeDType !== null && computeDType !== 'bf16' && computeDType !== 'f16') {
    throw new ConfigError(`lazyTransformer: computeDType is ${shown(computeDType)}; expected 'bf16', 'f16' or null`);
  }
  return {
    ...attention,
    vocabSize,
    numLayers,
    context,
    intermediateSize,
    tieEmbeddings,
    normEpsilon,
    initStd,
    computeDType,
  };
}

/** As `resolveConfig`, for the attention layer alone. @throws ConfigError */
export function resolveAttentionConfig(options: AttentionOptionsInput): AttentionConfig {
  checkKeys('lazyAttentionLayer', options, ATTENTION_KEYS);
  return resolveAttention('lazyAttentionLayer', options, 512);
}

function resolveAttention(where: string, options: AttentionOptionsInput, defaultWindow: number): AttentionConfig {
  const { hiddenSize, numHeads } = options;
  for (const [name, value] of Object.entries({ hiddenSize, numHeads })) checkSize(where, name, value);
  const { numKvHeads = numHeads, attention = 'lazy', window = defaultWindow, ropeBase = 10000 } = options;
  if (options.headDim === undefined && hiddenSize % numHeads !== 0) {
    throw new ConfigError(
      `${where}: hiddenSize (${hiddenSize}) must be a multiple of numHeads (${numHeads}), or give headDim`,
    );
  }
  const headDim = options.headDim ?? hiddenSize / numHeads;
  for (const [name, value] of Object.entries({ numKvHeads, headDim, window })) checkSize(where, name, value);
  checkPositive(where, 'ropeBase', ropeBase);
  if (numHeads % numKvHeads !== 0) {
    throw new ConfigError(`${where}: numHeads (${numHeads}) must be a multiple of numKvHeads (${numKvHeads})`);
  }
  if (headDim % 4 !== 0 || headDim > 256) {
    throw new ConfigError(`${where}: headDim is ${headDim}; expected a multiple of 4, at most 256`);
  }
  if (!isAttentionKind(attention)) {
    const known = attentionKinds().map(({ name }) => name);
    throw new ConfigError(`${where}: attention is ${shown(attention)}; expected one of ${known.join(', ')}`);
  }
  return { hiddenSize, numHeads, numKvHeads, headDim, attention, window, ropeBase };
}

/** 2/3 * 4 * hidden as in LLaMA, rounded up to 256, or to 64 in small models, where 256 would be a large step. */
function defaultIntermediate(hiddenSize: number): number {
  const multiple = hiddenSize < 512 ? 64 : 256;
  return Math.ceil((8 * hiddenSize) / 3 / multiple) * multiple;
}

function checkKeys(where: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new ConfigError(`${where}: config is ${shown(options)}; expected an object`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new ConfigError(`${where}: unknown key '${key}'; expected ${known.join(', ')}`);
  }
}

function checkSize(where: string, name: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1) {
    throw new ConfigError(`${where}: ${name} is ${shown(value)}; expected a positive integer`);
  }
}

function checkPositive(where: string, name: string, value: unknown): void {
  if (!Number.isFinite(value) || (value as number) <= 0) {
    throw new ConfigError(`${where}: ${name} is ${shown(value)}; expected a positive number`);
  }
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value);
}
