import { toBF16Bits, toF16Bits } from '@lazy-attention/core';
import type { Tokenizer } from '@lazy-attention/data';
import type { LazyTransformerConfig } from '@lazy-attention/nn';
import { ModelError } from '../errors.ts';
import { isLlamas } from '../kinds.ts';
import { pieces } from '../load.ts';
import { storedName } from '../names.ts';
import { isRotated, reorderHeads } from '../rows.ts';
import { rowsOf, type TensorStore } from '../tensors/store.ts';
import { hfTypeOf, type WriteDType } from './config.ts';
import { ggufTokenizerMetadata } from './gguf-tokenizer.ts';
import { ALIGNMENT, GgufWriter, type MetadataValue, padded } from './gguf-writer.ts';

/** GGUF's numbers of the types of elements. */
const ELEMENTS = { f32: 0, f16: 1, bf16: 30 } as const;

/** llama.cpp's architectures, by those of transformers. Mistral's is Llama's. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  llama: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
  smollm3: 'smollm3',
};

/**
 * The bytes of a GGUF file that llama.cpp opens. Vectors are f32 whatever `dtype` is, as llama.cpp has them.
 * @throws ModelError MODEL_WRITE for what llama.cpp cannot run
 */
export async function* ggufChunks(
  path: string,
  config: LazyTransformerConfig,
  tensors: TensorStore,
  tokenizer: Tokenizer | null,
  dtype: WriteDType,
): AsyncGenerator<Uint8Array> {
  if (dtype === 'f64') throw new ModelError('MODEL_WRITE', path, 'GGUF is written in f32, f16 or bf16, not in f64');
  const architecture = architectureOf(path, config);
  const metadata = {
    ...modelMetadata(architecture, config, dtype),
    ...ggufTokenizerMetadata(path, tokenizer, config.vocabSize),
  };
  const plans = Array.from(tensors, ([name, tensor]) => {
    const matrix = tensor.shape.length > 1;
    const type = matrix ? dtype : 'f32';
    const { rows, columns } = rowsOf(tensor.shape);
    return { name, tensor, type, bytes: rows * columns * (type === 'f32' ? 4 : 2) } as const;
  });
  yield header(metadata, plans);
  const pairs = architecture === 'llama' || architecture === 'smollm3';
  for (const { name, tensor, type, bytes } of plans) {
    const { columns } = rowsOf(tensor.shape);
    const turned = pairs && isRotated(name);
    const step = turned ? config.headDim : (tensor.step ?? 1);
    for await (const { data } of pieces({ ...tensor, step })) {
      yield encode(turned ? reorderHeads(data, columns, config.headDim, true) : data, type);
    }
    yield new Uint8Array(padded(bytes) - bytes);
  }
}

function architectureOf(path: string, config: LazyTransformerConfig): string {
  if (!isLlamas(config.attention)) {
    throw new ModelError(
      'MODEL_WRITE',
      path,
      `llama.cpp has no attention '${config.attention}'; write --format hf, which examples/pytorch opens`,
    );
  }
  const { name } = hfTypeOf(path, config);
  const architecture = ARCHITECTURES[name];
  const { ropeScaling, slidingWindow, noRopeLayers, numLayers } = config;
  const refuse = (what: string) =>
    new ModelError('MODEL_WRITE', path, `llama.cpp's '${architecture ?? name}' has no ${what}`);
  if (architecture === undefined || slidingWindow !== null)
    throw refuse(`sliding window (slidingWindow ${slidingWindow})`);
  if (ropeScaling !== null && ropeScaling.type !== 'linear')
    throw refuse(`key for rope scaling of type ${ropeScaling.type} that is written here`);
  const every = Array.from({ length: numLayers }, (_, layer) => layer).filter((layer) => (layer + 1) % 4 === 0);
  if (architecture === 'smollm3' && String(every) !== String(noRopeLayers))
    throw refuse('other layers without RoPE than every fourth');
  return architecture;
}

function modelMetadata(
  architecture: string,
  config: LazyTransformerConfig,
  dtype: 'f32' | 'f16' | 'bf16',
): Record<string, MetadataValue> {
  const u32 = (value: number) => ({ type: 'u32', value }) as const;
  const f32 = (value: number) => ({ type: 'f32', value }) as const;
  const text = (value: string) => ({ type: 'string', value }) as const;
  const own: Record<string, MetadataValue> = {
    context_length: u32(config.context),
    embedding_length: u32(config.hiddenSize),
    block_count: u32(config.numLayers),
    feed_forward_length: u32(config.intermediateSize),
    'attention.head_count': u32(config.numHeads),
    'attention.head_count_kv': u32(config.numKvHeads),
    'attention.key_length': u32(config.headDim),
    'attention.value_length': u32(config.headDim),
    'attention.layer_norm_rms_epsilon': f32(config.normEpsilon),
    'rope.dimension_count': u32(config.headDim),
    'rope.freq_base': f32(config.ropeBase),
    vocab_size: u32(config.vocabSize),
    ...(config.ropeScaling === null
      ? {}
      : { 'rope.scaling.type': text('linear'), 'rope.scaling.factor': f32(config.ropeScaling.factor) }),
  };
  return {
    'general.architecture': text(architecture),
    'general.name': text('lazy-attention'),
    'general.alignment': u32(ALIGNMENT),
    'general.file_type': u32({ f32: 0, f16: 1, bf16: 32 }[dtype]),
    ...Object.fromEntries(Object.entries(own).map(([key, value]) => [`${architecture}.${key}`, value])),
  };
}

interface Plan {
  readonly name: string;
  readonly tensor: { readonly shape: readonly number[] };
  readonly type: 'f32' | 'f16' | 'bf16';
  readonly bytes: number;
}

function header(metadata: Readonly<Record<string, MetadataValue>>, plans: readonly Plan[]): Uint8Array {
  const out = new GgufWriter();
  out.bytes(new TextEncoder().encode('GGUF'));
  out.u32(3);
  out.u64(plans.length);
  out.u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    out.text(key);
    out.value(value);
  }
  let offset = 0;
  for (const { name, tensor, type, bytes } of plans) {
    out.text(storedName('gguf', name));
    out.u32(tensor.shape.length);
    for (const size of [...tensor.shape].reverse()) out.u64(size);
    out.u32(ELEMENTS[type]);
    out.u64(offset);
    offset += padded(bytes);
  }
  return out.done();
}

function encode(data: ArrayLike<number>, type: 'f32' | 'f16' | 'bf16'): Uint8Array {
  if (type === 'f32') {
    const values = data instanceof Float32Array ? data : Float32Array.from(data);
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  }
  const toBits = type === 'f16' ? toF16Bits : toBF16Bits;
  const bits = new Uint16Array(data.length);
  for (let i = 0; i < data.length; i++) bits[i] = toBits(data[i]);
  return new Uint8Array(bits.buffer);
}
