import type { Tokenizer } from '@lazy-attention/data';
import * as v from 'valibot';
import { ModelError } from '../errors.ts';
import { preOf } from '../gguf/split.ts';
import type { MetadataValue } from './gguf-writer.ts';
import { tokenizerFiles } from './tokenizer.ts';

/** GGUF's types of tokens. */
const NORMAL = 1;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;

const BpeSchema = v.looseObject({
  added_tokens: v.optional(
    v.array(v.looseObject({ id: v.number(), content: v.string(), special: v.optional(v.boolean()) })),
    [],
  ),
  pre_tokenizer: v.nullish(v.looseObject({})),
  model: v.looseObject({
    type: v.literal('BPE'),
    vocab: v.record(v.string(), v.number()),
    merges: v.array(v.union([v.string(), v.array(v.string())])),
  }),
});

/** The tokenizer as metadata; a model without one gets none. @throws ModelError MODEL_WRITE for one that is no byte-level BPE */
export function ggufTokenizerMetadata(
  path: string,
  tokenizer: Tokenizer | null,
  vocabSize: number,
): Readonly<Record<string, MetadataValue>> {
  if (tokenizer === null) return { 'tokenizer.ggml.model': { type: 'string', value: 'no_vocab' } };
  const parsed = v.safeParse(BpeSchema, tokenizerFiles(tokenizer).tokenizer);
  if (!parsed.success)
    throw new ModelError(
      'MODEL_WRITE',
      path,
      'its tokenizer is no BPE, which is what is written to GGUF; write --format hf',
    );
  const { added_tokens: added, model, pre_tokenizer: pre } = parsed.output;
  const split = preOf(pre);
  if (split === null) {
    throw new ModelError(
      'MODEL_WRITE',
      path,
      'its tokenizer cuts words in a way that has no name in GGUF (tokenizer.ggml.pre); write --format hf',
    );
  }
  const tokens = Array.from({ length: vocabSize }, (_, id) => `[unused ${id}]`);
  const types: number[] = tokens.map(() => UNUSED);
  for (const [token, id] of Object.entries(model.vocab)) {
    tokens[id] = token;
    types[id] = NORMAL;
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    types[id] = special === true ? CONTROL : USER_DEFINED;
  }
  const { bosId, eosId, padId } = tokenizer;
  return {
    'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
    'tokenizer.ggml.pre': { type: 'string', value: split },
    'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
    'tokenizer.ggml.token_type': { type: 'i32s', value: types },
    'tokenizer.ggml.merges': {
      type: 'strings',
      value: model.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' '))),
    },
    ...(bosId === undefined ? {} : { 'tokenizer.ggml.bos_token_id': { type: 'u32', value: bosId } }),
    ...(eosId === undefined ? {} : { 'tokenizer.ggml.eos_token_id': { type: 'u32', value: eosId } }),
    ...(padId === undefined ? {} : { 'tokenizer.ggml.padding_token_id': { type: 'u32', value: padId } }),
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: tokenizer.addsBos },
  };
}
