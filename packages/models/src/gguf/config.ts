import type { LazyTransformerOptions, RopeScaling } from '@lazy-attention/nn';
import * as v from 'valibot';
import { ModelError } from '../errors.ts';
import { parseConfig } from '../hf/schema.ts';
import type { TensorStore } from '../tensors/store.ts';
import type { GgufFile } from './read.ts';
import { llama3Scaling } from './rope-factors.ts';

/** What the converter of llama.cpp does to an architecture. */
interface Architecture {
  /** Rows of q and k are in pairs-side-by-side order. */
  readonly pairs: boolean;
  /** Every so many layers one does not rotate; llama.cpp knows it, the file does not say. */
  readonly noRopeInterval?: number;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: { pairs: true },
  smollm3: { pairs: true, noRopeInterval: 4 },
  qwen2: { pairs: false },
  qwen3: { pairs: false },
};

const size = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));

const MetadataSchema = v.looseObject({
  block_count: v.pipe(size, v.maxValue(65536)),
  context_length: size,
  embedding_length: size,
  feed_forward_length: size,
  'attention.head_count': size,
  'attention.head_count_kv': v.optional(size),
  'attention.key_length': v.optional(size),
  'attention.value_length': v.optional(size),
  'attention.layer_norm_rms_epsilon': positive,
  'attention.sliding_window': v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  'rope.freq_base': v.optional(positive),
  'rope.dimension_count': v.optional(size),
  'rope.scaling.type': v.optional(v.string()),
  'rope.scaling.factor': v.optional(v.number()),
  'rope.scaling.original_context_length': v.optional(size),
  'rope.scaling.attn_factor': v.optional(positive),
  expert_count: v.optional(v.number()),
});

type Metadata = v.InferOutput<typeof MetadataSchema>;

/** What the metadata say, in the words of nn. */
export interface MappedGguf {
  readonly options: LazyTransformerOptions;
  /** Rows of q and k are in pairs-side-by-side order. */
  readonly pairs: boolean;
}

/** @throws ModelError MODEL_CONFIG or MODEL_UNSUPPORTED, with the key */
export async function mapGguf(path: string, { metadata, tensors }: GgufFile): Promise<MappedGguf> {
  const name = metadata['general.architecture'];
  const unsupported = (message: string) => new ModelError('MODEL_UNSUPPORTED', path, message);
  if (typeof name !== 'string' || !Object.hasOwn(ARCHITECTURES, name)) {
    const known = Object.keys(ARCHITECTURES).join(', ');
    throw unsupported(`key 'general.architecture' is ${JSON.stringify(name)}; supported are ${known}`);
  }
  const { pairs, noRopeInterval } = ARCHITECTURES[name];
  const prefix = `${name}.`;
  const own = Object.entries(metadata).flatMap(([key, value]) =>
    key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
  );
  const config = parseConfig(`${path}: ${name}`, MetadataSchema, Object.fromEntries(own));
  if ((config.expert_count ?? 0) > 1)
    throw unsupported(`key '${name}.expert_count' is ${config.expert_count}; supported is 1`);
  const embeddings = tensors.get('token_embd.weight');
  if (embeddings === undefined) throw new ModelError('MODEL_TENSORS', path, "lacks tensor 'token_embd.weight'");
  const numHeads = config['attention.head_count'];
  const hiddenSize = config.embedding_length;
  const headDim = config['attention.key_length'] ?? hiddenSize / numHeads;
  const checkHead = (key: 'attention.value_length' | 'rope.dimension_count') => {
    if ((config[key] ?? headDim) === headDim) return;
    throw unsupported(`key '${name}.${key}' is ${config[key]}; supported is the width of a head, ${headDim}`);
  };
  checkHead('attention.value_length');
  checkHead('rope.dimension_count');
  const numLayers = config.block_count;
  const ropeBase = config['rope.freq_base'] ?? 10000;
  return {
    pairs,
    options: {
      attention: 'softmax',
      vocabSize: embeddings.shape[0],
      hiddenSize,
      numLayers,
      numHeads,
      numKvHeads: config['attention.head_count_kv'] ?? numHeads,
      headDim,
      context: config.context_length,
      intermediateSize: config.feed_forward_length,
      tieEmbeddings: !tensors.has('output.weight'),
      normEpsilon: config['attention.layer_norm_rms_epsilon'],
      ropeBase,
      ropeScaling: await scalingOf(path, name, config, tensors, ropeBase, headDim),
      ...biasesOf(tensors),
      slidingWindow: config['attention.sliding_window'] || null,
      noRopeLayers: Array.from({ length: numLayers }, (_, layer) => layer).filter(
        (layer) => noRopeInterval !== undefined && (layer + 1) % noRopeInterval === 0,
      ),
    },
  };
}

/** The metadata do not say which projections have biases, or whether q and k are normed; the first layer does. */
function biasesOf(tensors: TensorStore) {
  const has = (name: string) => tensors.has(`blk.0.${name}`);
  return {
    attentionBias: has('attn_output.bias') ? ('qkvo' as const) : has('attn_q.bias') ? ('qkv' as const) : null,
    mlpBias: has('ffn_gate.bias'),
    qkNorm: has('attn_q_norm.weight'),
  };
}

async function scalingOf(
  path: string,
  name: string,
  config: Metadata,
  tensors: TensorStore,
  ropeBase: number,
  headDim: number,
): Promise<RopeScaling | null> {
  const factors = tensors.get('rope_freqs.weight');
  if (factors !== undefined) return llama3Scaling(path, factors, ropeBase, headDim);
  const type = config['rope.scaling.type'] ?? 'none';
  const factor = config['rope.scaling.factor'] ?? 1;
  switch (type) {
    case 'none':
      return null;
    case 'linear':
      return { type, factor };
    case 'yarn':
      return {
        type,
        factor,
        originalContext: config['rope.scaling.original_context_length'] ?? config.context_length,
        ...(config['rope.scaling.attn_factor'] === undefined
          ? {}
          : { attentionFactor: config['rope.scaling.attn_factor'] * (0.1 * Math.log(factor) + 1) }),
      };
    default:
      throw new ModelError(
        'MODEL_UNSUPPORTED',
        path,
        `key '${name}.rope.scaling.type' is '${type}'; supported are none, linear, yarn`,
      );
  }
}
