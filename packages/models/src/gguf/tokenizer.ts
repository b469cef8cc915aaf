import { huggingFaceTokenizer, type Tokenizer } from '@lazy-attention/data';
import * as v from 'valibot';
import { ModelError, messageOf } from '../errors.ts';
import type { GgufMetadata } from './read.ts';
import { preTokenizer } from './split.ts';

/** GGUF's types of tokens. */
const TYPE = { unknown: 2, control: 3, userDefined: 4, byte: 6 } as const;

const integer = v.pipe(v.number(), v.safeInteger());
const TokenizerSchema = v.looseObject({
  'tokenizer.ggml.model': v.picklist(['gpt2', 'llama']),
  'tokenizer.ggml.pre': v.optional(v.string(), 'default'),
  'tokenizer.ggml.tokens': v.array(v.string()),
  'tokenizer.ggml.token_type': v.optional(v.array(integer)),
  'tokenizer.ggml.scores': v.optional(v.array(v.number())),
  'tokenizer.ggml.merges': v.optional(v.array(v.string())),
  'tokenizer.ggml.bos_token_id': v.optional(integer),
  'tokenizer.ggml.eos_token_id': v.optional(integer),
  'tokenizer.ggml.padding_token_id': v.optional(integer),
  'tokenizer.ggml.unknown_token_id': v.optional(integer),
  'tokenizer.ggml.add_bos_token': v.optional(v.boolean()),
  'tokenizer.ggml.add_space_prefix': v.optional(v.boolean()),
});

type Metadata = v.InferOutput<typeof TokenizerSchema>;

/** tokenizer.json and tokenizer_config.json that the metadata of a GGUF file amount to. */
export interface TokenizerFiles {
  readonly tokenizer: object;
  readonly config: object;
}

/** Null for a file without tokens. @throws ModelError MODEL_TOKENIZER or MODEL_UNSUPPORTED */
export function ggufTokenizer(path: string, metadata: GgufMetadata): Tokenizer | null {
  const files = ggufTokenizerFiles(path, metadata);
  if (files === null) return null;
  try {
    return huggingFaceTokenizer(files.tokenizer, { name: path, config: files.config });
  } catch (cause) {
    throw new ModelError('MODEL_TOKENIZER', path, `its tokenizer cannot be made: ${messageOf(cause)}`, { cause });
  }
}

export function ggufTokenizerFiles(path: string, metadata: GgufMetadata): TokenizerFiles | null {
  const model = metadata['tokenizer.ggml.model'];
  if (model === undefined || model === 'none' || model === 'no_vocab') return null;
  if (model !== 'gpt2' && model !== 'llama') {
    throw new ModelError(
      'MODEL_UNSUPPORTED',
      path,
      `key 'tokenizer.ggml.model' is ${JSON.stringify(model)}; supported are gpt2 (byte-level BPE) and llama (SentencePiece BPE)`,
    );
  }
  const parsed = v.safeParse(TokenizerSchema, metadata, { abortEarly: true });
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const key = issue.path?.map((item) => item.key).join(' ');
    throw new ModelError('MODEL_TOKENIZER', path, `key '${key}': ${issue.message}`);
  }
  const read = parsed.output;
  const types = read['tokenizer.ggml.token_type'] ?? [];
  const tokens = read['tokenizer.ggml.tokens'];
  const added = tokens.flatMap((content, id) => {
    const special = types[id] === TYPE.control || (model === 'llama' && types[id] === TYPE.unknown);
    if (!special && types[id] !== TYPE.userDefined) return [];
    return [{ id, content, special, single_word: false, lstrip: false, rstrip: false, normalized: false }];
  });
  const parts = model === 'gpt2' ? byteLevel(path, read) : sentencePiece(path, read);
  return { tokenizer: { version: '1.0', added_tokens: added, ...parts }, config: roles(path, read) };
}

/** Which token begins and ends documents, as tokenizer_config.json says it. */
function roles(path: string, metadata: Metadata): object {
  const tokens = metadata['tokenizer.ggml.tokens'];
  const token = (role: 'bos' | 'eos' | 'padding' | 'unknown') => {
    const id = metadata[`tokenizer.ggml.${role}_token_id`];
    if (id === undefined) return null;
    if (tokens[id] === undefined) {
      throw new ModelError(
        'MODEL_TOKENIZER',
        path,
        `key 'tokenizer.ggml.${role}_token_id' is ${id}; there are ${tokens.length} tokens`,
      );
    }
    return tokens[id];
  };
  const adds = metadata['tokenizer.ggml.add_bos_token'] ?? metadata['tokenizer.ggml.model'] === 'llama';
  return {
    bos_token: token('bos'),
    eos_token: token('eos'),
    pad_token: token('padding'),
    unk_token: token('unknown'),
    // Where it is not added by itself it still is what a document begins with.
    ...(adds ? { add_bos_token: true } : {}),
  };
}

function byteLevel(path: string, metadata: Metadata): object {
  const merges = metadata['tokenizer.ggml.merges'];
  if (merges === undefined) throw new ModelError('MODEL_TOKENIZER', path, "lacks key 'tokenizer.ggml.merges'");
  const { split, normalizer, ignoreMerges } = preTokenizer(path, metadata['tokenizer.ggml.pre']);
  return {
    normalizer,
    pre_tokenizer: split,
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: ignoreMerges,
      vocab: vocabulary(metadata['tokenizer.ggml.tokens']),
      // Neither half holds a space: those of the text are spelled Ġ.
      merges: merges.map((merge) => merge.split(' ')),
    },
  };
}

function sentencePiece(path: string, metadata: Metadata): object {
  const tokens = metadata['tokenizer.ggml.tokens'];
  const scores = metadata['tokenizer.ggml.scores'];
  if (scores?.length !== tokens.length) {
    throw new ModelError(
      'MODEL_TOKENIZER',
      path,
      `key 'tokenizer.ggml.scores' has ${scores?.length ?? 'no'} entries; there are ${tokens.length} tokens`,
    );
  }
  const prefix = metadata['tokenizer.ggml.add_space_prefix'] ?? true;
  const unknown =
    metadata['tokenizer.ggml.unknown_token_id'] ?? metadata['tokenizer.ggml.token_type']?.indexOf(TYPE.unknown);
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const restore = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
  return {
    normalizer: prefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replace] } : replace,
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        restore,
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: tokens[unknown ?? 0] ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabulary(tokens),
      merges: mergesOf(tokens, scores),
    },
  };
}

function vocabulary(tokens: readonly string[]): Record<string, number> {
  const vocab: Record<string, number> = Object.create(null);
  for (const [id, token] of tokens.entries()) vocab[token] = id;
  return { ...vocab };
}

/**
 * SentencePiece merges the pair whose joint piece has the best score; as a list of merges: every way to split a piece into
 * two, best pieces first, and of one piece the split with the smaller left id first.
 */
function mergesOf(tokens: readonly string[], scores: readonly number[]): [string, string][] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const order = tokens.map((_, id) => id).sort((a, b) => scores[b] - scores[a]);
  return order.flatMap((id) => {
    const characters = Array.from(tokens[id]);
    const splits = characters.slice(1).flatMap((_, i): [string, string][] => {
      const left = characters.slice(0, i + 1).join('');
      const right = characters.slice(i + 1).join('');
      return ids.has(left) && ids.has(right) ? [[left, right]] : [];
    });
    return splits.sort(([a, c], [b, d]) => ids.get(a)! - ids.get(b)! || ids.get(c)! - ids.get(d)!);
  });
}
