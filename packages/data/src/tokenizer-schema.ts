import * as v from 'valibot';
import { DataError } from './errors.ts';
import { describe, jsonObject, parseAs } from './schema.ts';

/** Ids are rows of an embedding; the largest vocabularies in use have a quarter of a million. */
const MOST_IDS = 2 ** 24;

const id = v.custom<number>(isId, `a token id from 0 to ${MOST_IDS - 1}`);

const part = v.nullish(jsonObject);

/** What this package and @huggingface/tokenizers rely on in a tokenizer.json; the rest is the library's to judge. */
const tokenizerFile = v.looseObject({
  model: v.looseObject({ type: v.nullish(v.string()), vocab: v.union([jsonObject, v.array(v.unknown())]) }),
  added_tokens: v.nullish(v.array(v.looseObject({ id, content: v.string(), special: v.optional(v.boolean()) }))),
  normalizer: part,
  pre_tokenizer: part,
  post_processor: part,
  decoder: part,
});

/** A parsed tokenizer.json. @throws DataError (TOKENIZER) with the entry that is wrong */
export function checkTokenizerFile(where: string, json: unknown): void {
  const { model } = parseAs(tokenizerFile, json, 'TOKENIZER', where);
  const { vocab } = model;
  // By hand: the schema of a hundred thousand entries took most of a second.
  if (Array.isArray(vocab)) {
    vocab.forEach((entry, at) => {
      const [token, score] = Array.isArray(entry) ? entry : [];
      if (typeof token !== 'string' || typeof score !== 'number') {
        throw new DataError('TOKENIZER', `${where}: model.vocab[${at}] is ${describe(entry)}; expected [token, score]`);
      }
    });
    return;
  }
  for (const [token, value] of Object.entries(vocab)) {
    if (isId(value)) continue;
    const name = describe(token);
    throw new DataError(
      'TOKENIZER',
      `${where}: model.vocab[${name}] is ${describe(value)}; expected a token id from 0 to ${MOST_IDS - 1}`,
    );
  }
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < MOST_IDS;
}

/** tokenizer_config.json writes a token as a string, as an object with `content`, or as null. */
const namedToken = v.nullish(v.union([v.string(), v.looseObject({ content: v.string() })]));

const tokenizerConfig = v.looseObject({
  add_bos_token: v.nullish(v.boolean()),
  bos_token: namedToken,
  eos_token: namedToken,
  pad_token: namedToken,
});

/** What this package reads of a parsed tokenizer_config.json. */
export type TokenizerConfig = v.InferOutput<typeof tokenizerConfig>;

/** A parsed tokenizer_config.json. @throws DataError (TOKENIZER) with the entry that is wrong */
export function parseTokenizerConfig(where: string, json: unknown): TokenizerConfig {
  return parseAs(tokenizerConfig, json, 'TOKENIZER', where);
}

const token = v.nullable(v.string());

/** `ByteTokenizerOptions.documentSeparator`. */
const separator = v.union([v.boolean(), v.picklist(['before', 'after'])]);

/** What `Tokenizer.toJSON` gives, as it stands in a checkpoint. */
export const savedTokenizer = v.variant('kind', [
  v.object({ kind: v.literal('bytes'), documentSeparator: separator }),
  v.object({
    kind: v.literal('tokenizer.json'),
    name: v.string(),
    tokenizer: jsonObject,
    config: v.nullable(jsonObject),
    bosToken: token,
    eosToken: token,
    padToken: token,
  }),
]);
