import { attentionKinds, isAttentionKind } from '../attention/registry.ts';
import type { KeyName } from '../errors.ts';
import {
  checkBoolean,
  checkChoice,
  checkKeys,
  checkLayers,
  checkPositive,
  checkSize,
  keyError,
  shown,
  valueError,
} from './checks.ts';
import type {
  AttentionConfig,
  AttentionOptionsInput,
  LazyTransformerConfig,
  LazyTransformerOptions,
} from './config.ts';
import { resolveScaling } from './rope-scaling.ts';

const ATTENTION_KEYS = [
  'hiddenSize',
  'numHeads',
  'numKvHeads',
  'headDim',
  'attention',
  'window',
  'ropeBase',
  'ropeScaling',
  'attentionBias',
  'qkNorm',
  'slidingWindow',
  'normEpsilon',
] as const satisfies readonly (keyof AttentionConfig)[];
const MODEL_KEYS = [
  ...ATTENTION_KEYS,
  'vocabSize',
  'numLayers',
  'context',
  'intermediateSize',
  'mlpBias',
  'noRopeLayers',
  'fullAttentionLayers',
  'tieEmbeddings',
  'initStd',
  'computeDType',
] as const satisfies readonly (keyof LazyTransformerConfig)[];

/** Far above any model: the names and shapes of every layer are made before anything is asked of a device. */
const MOST_LAYERS = 4096;

/** Fills in defaults and checks. @throws ConfigError */
export function resolveConfig(options: LazyTransformerOptions): LazyTransformerConfig {
  const where = 'lazyTransformer';
  checkKeys(where, options, MODEL_KEYS);
  const { vocabSize, numLayers, context, hiddenSize } = options;
  for (const [name, value] of Object.entries({ vocabSize, numLayers, context })) checkSize(where, name, value);
  if (numLayers > MOST_LAYERS) throw valueError(where, 'numLayers', String(numLayers), `at most ${MOST_LAYERS}`);
  const attention = resolveAttention(where, options, Math.min(512, context));
  const {
    intermediateSize = defaultIntermediate(hiddenSize),
    mlpBias = false,
    noRopeLayers = [],
    fullAttentionLayers = [],
    tieEmbeddings = false,
    initStd = 0.02,
    computeDType = null,
  } = options;
  checkSize(where, 'intermediateSize', intermediateSize);
  checkPositive(where, 'initStd', initStd);
  checkBoolean(where, 'mlpBias', mlpBias);
  checkBoolean(where, 'tieEmbeddings', tieEmbeddings);
  checkLayers(where, 'noRopeLayers', noRopeLayers, numLayers);
  checkLayers(where, 'fullAttentionLayers', fullAttentionLayers, numLayers);
  checkChoice(where, 'computeDType', computeDType, ['bf16', 'f16', null]);
  return {
    ...attention,
    vocabSize,
    numLayers,
    context,
    intermediateSize,
    mlpBias,
    noRopeLayers,
    fullAttentionLayers,
    tieEmbeddings,
    initStd,
    computeDType,
  };
}

/** As `resolveConfig`, for the attention layer alone. @throws ConfigError */
export function resolveAttentionConfig(options: AttentionOptionsInput): AttentionConfig {
  checkKeys('lazyAttentionLayer', options, ATTENTION_KEYS);
  return resolveAttention('lazyAttentionLayer', options, 512);
}

/** What of a model's config one attention layer by itself has. */
export function attentionConfigOf(config: LazyTransformerConfig): AttentionConfig {
  return Object.fromEntries(ATTENTION_KEYS.map((key) => [key, config[key]])) as unknown as AttentionConfig;
}

function resolveAttention(where: string, options: AttentionOptionsInput, defaultWindow: number): AttentionConfig {
  const { hiddenSize, numHeads } = options;
  for (const [name, value] of Object.entries({ hiddenSize, numHeads })) checkSize(where, name, value);
  const { numKvHeads = numHeads, attention = 'lazy', window = defaultWindow, ropeBase = 10000 } = options;
  const { attentionBias = null, qkNorm = false, slidingWindow = null, normEpsilon = 1e-6 } = options;
  if (options.headDim === undefined && hiddenSize % numHeads !== 0) {
    throw keyError(where, 'hiddenSize', multiple('hiddenSize', hiddenSize, 'numHeads', numHeads), ', or give headDim');
  }
  const headDim = options.headDim ?? hiddenSize / numHeads;
  for (const [name, value] of Object.entries({ numKvHeads, headDim, window })) checkSize(where, name, value);
  checkPositive(where, 'ropeBase', ropeBase);
  checkPositive(where, 'normEpsilon', normEpsilon);
  checkChoice(where, 'attentionBias', attentionBias, ['qkv', 'qkvo', null]);
  checkBoolean(where, 'qkNorm', qkNorm);
  if (slidingWindow !== null) checkSize(where, 'slidingWindow', slidingWindow);
  if (numHeads % numKvHeads !== 0) {
    throw keyError(where, 'numHeads', multiple('numHeads', numHeads, 'numKvHeads', numKvHeads));
  }
  if (headDim % 4 !== 0 || headDim > 256) {
    const derived = options.headDim === undefined;
    throw keyError(where, derived ? 'hiddenSize' : 'headDim', (nameOf) => {
      const what = derived ? `${nameOf('hiddenSize')} / ${nameOf('numHeads')}` : nameOf('headDim');
      return `${what} is ${headDim}; expected a multiple of 4, at most 256`;
    });
  }
  if (!isAttentionKind(attention)) {
    const known = attentionKinds().map(({ name }) => name);
    const expected = `one of ${known.join(', ')}, or one of your own, defined first`;
    throw valueError(where, 'attention', shown(attention), expected);
  }
  const ropeScaling = resolveScaling(where, options.ropeScaling ?? null);
  return {
    hiddenSize,
    numHeads,
    numKvHeads,
    headDim,
    attention,
    window,
    ropeBase,
    ropeScaling,
    attentionBias,
    qkNorm,
    slidingWindow,
    normEpsilon,
  };
}

/** What is said of a key that another one does not divide. */
function multiple(key: string, size: number, divisor: string, by: number): (nameOf: KeyName) => string {
  return (nameOf) => `${nameOf(key)} (${size}) must be a multiple of ${nameOf(divisor)} (${by})`;
}

/** 2/3 * 4 * hidden as in LLaMA, rounded up to 256, or to 64 in small models, where 256 would be a large step. */
function defaultIntermediate(hiddenSize: number): number {
  const multiple = hiddenSize < 512 ? 64 : 256;
  return Math.ceil((8 * hiddenSize) / 3 / multiple) * multiple;
}
