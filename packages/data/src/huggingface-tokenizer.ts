import { Tokenizer as Engine } from '@huggingface/tokenizers';
import { DataError, messageOf } from './errors.ts';
import { IntegerHash } from './hash.ts';
import { withTimeLimit } from './time-limit.ts';
import { type HuggingFaceTokenizerJSON, requireId, type StreamDecoder, type Tokenizer } from './tokenizer.ts';
import { checkTokenizerFile, parseTokenizerConfig, type TokenizerConfig } from './tokenizer-schema.ts';

/** What `huggingFaceTokenizer` takes beside the file. */
export interface HuggingFaceTokenizerOptions {
  /** For messages. Default `tokenizer.json`. */
  readonly name?: string;
  /** The parsed tokenizer_config.json, if there is one. */
  readonly config?: object | null;
  /** Token put before every document; null for none. Default: see {@link huggingFaceTokenizer}. */
  readonly bosToken?: string | null;
  /** Token put after every document; null for none. */
  readonly eosToken?: string | null;
  /** Token that stands where there is none; null for none. */
  readonly padToken?: string | null;
}

type Role = 'bos' | 'eos' | 'pad';

/** Names that published tokenisers give these tokens, most specific first. */
const WELL_KNOWN: Record<Role, readonly string[]> = {
  bos: ['<|begin_of_text|>', '<s>', '<bos>', '[CLS]', '<|endoftext|>'],
  eos: ['<|end_of_text|>', '</s>', '<eos>', '[SEP]', '<|endoftext|>'],
  pad: ['<pad>', '[PAD]', '<|pad|>', '<|finetune_right_pad_id|>'],
};

/**
 * A parsed `tokenizer.json`, run by @huggingface/tokenizers. The token of a role is the one in `options`, else the one in
 * `options.config` (`bos_token` unless `add_bos_token` is false), else, without a config, the first special token with a well-known name.
 * @throws DataError (TOKENIZER) when the file is not a tokeniser, needs what the library lacks, or has no token of a given name
 */
export function huggingFaceTokenizer(json: object, options: HuggingFaceTokenizerOptions = {}): Tokenizer {
  const name = options.name ?? 'tokenizer.json';
  const config = options.config ?? null;
  const configured = config === null ? null : parseTokenizerConfig(`${name}: its tokenizer_config.json`, config);
  const engine = createEngine(name, json, config);
  const roleToken = roleTokens(name, engine, configured);
  const [bosToken, bosId] = roleToken('bos', options.bosToken);
  const [eosToken, eosId] = roleToken('eos', options.eosToken);
  const [padToken, padId] = roleToken('pad', options.padToken);

  // Ids may have holes, so the largest one counts, not their number.
  let vocabSize = 0;
  for (const id of engine.get_vocab().values()) vocabSize = Math.max(vocabSize, id + 1);
  if (vocabSize === 0) throw new DataError('TOKENIZER', `${name}: the vocabulary is empty`);

  const guarded = <T>(what: string, length: number, work: () => T): T => {
    try {
      return withTimeLimit(name, length, work);
    } catch (cause) {
      if (cause instanceof DataError) throw cause;
      throw new DataError('TOKENIZER', `${name}: cannot ${what}: ${messageOf(cause)}`, { cause });
    }
  };
  const encode = (text: string): Int32Array => {
    const { ids, tokens } = guarded('encode', text.length, () => engine.encode(text, { add_special_tokens: false }));
    // The library answers undefined for a token without id when the model has no unknown token.
    const hole = ids.findIndex((id: number) => !Number.isInteger(id));
    if (hole >= 0) {
      throw new DataError('TOKENIZER', `${name}: '${tokens[hole]}' has no id and the model has no unknown token`);
    }
    return Int32Array.from(ids);
  };
  // Clean-up would take spaces away before punctuation, and decode(encode(text)) would no longer be the text.
  const plainly = { skip_special_tokens: true, clean_up_tokenization_spaces: false };
  const decode = (ids: ArrayLike<number>): string => {
    const list = Array.from(ids);
    for (const id of list) requireId(name, id, vocabSize);
    return list.length === 0 ? '' : guarded('decode', list.length, () => engine.decode(list, plainly));
  };

  return {
    name,
    vocabSize,
    ...(bosId === undefined ? {} : { bosId }),
    ...(eosId === undefined ? {} : { eosId }),
    ...(padId === undefined ? {} : { padId }),
    addsBos: guarded('encode', 1, () => addsBos(engine, configured, bosId)),
    fingerprint: new IntegerHash().addText(JSON.stringify([json, config, bosToken, eosToken])).hex(),
    encode,
    decode,
    decoder: (behind = []) => windowDecoder(decode, lastWords(decode, Array.from(behind))),
    toJSON: () => ({ kind: 'tokenizer.json', name, tokenizer: json, config, bosToken, eosToken, padToken }),
  };
}

/** A function from a role and the token that the caller gave to the token that it has, and its id. */
function roleTokens(name: string, engine: Engine, config: TokenizerConfig | null) {
  const special = new Set<string>();
  for (const token of engine.get_added_tokens_decoder().values()) if (token.special) special.add(token.content);
  const choose = (role: Role): string | null =>
    config === null ? (WELL_KNOWN[role].find((token) => special.has(token)) ?? null) : configuredToken(config, role);
  return (role: Role, given: string | null | undefined): [string | null, number | undefined] => {
    const token = given === undefined ? choose(role) : given;
    if (token === null) return [null, undefined];
    const id = engine.token_to_id(token);
    if (id === undefined)
      throw new DataError('TOKENIZER', `${name}: ${role} token '${token}' is not in the vocabulary`);
    return [token, id];
  };
}

/** @internal */
export function huggingFaceTokenizerFromJSON(json: HuggingFaceTokenizerJSON): Tokenizer {
  return huggingFaceTokenizer(json.tokenizer, json);
}

function createEngine(name: string, json: object, config: object | null): Engine {
  checkTokenizerFile(name, json);
  try {
    // Files written by hand or by old versions leave these out; the library takes absence for damage.
    const complete = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
    const pre = unicodeDigits((json as { pre_tokenizer?: unknown }).pre_tokenizer ?? null);
    return withTimeLimit(name, 0, () => new Engine({ ...complete, ...json, pre_tokenizer: pre }, config ?? {}));
  } catch (cause) {
    throw new DataError('TOKENIZER', `${name}: not a usable tokenizer.json: ${messageOf(cause)}`, { cause });
  }
}

/** `Digits` cuts at every numeric character (½ and ١ are some); the library's knows 0 to 9 alone. A Split says the same. */
function unicodeDigits(part: unknown): unknown {
  if (typeof part !== 'object' || part === null) return part;
  const { type, pretokenizers, individual_digits: individual } = part as Record<string, unknown>;
  if (type === 'Sequence' && Array.isArray(pretokenizers)) {
    return { ...part, pretokenizers: pretokenizers.map(unicodeDigits) };
  }
  if (type !== 'Digits') return part;
  return { type: 'Split', pattern: { Regex: individual ? '\\p{N}' : '\\p{N}+' }, behavior: 'Isolated', invert: false };
}

function configuredToken(config: TokenizerConfig, role: Role): string | null {
  if (role === 'bos' && config.add_bos_token === false) return null;
  const token = config[`${role}_token`] ?? null;
  return typeof token === 'object' && token !== null ? token.content : token;
}

/** So many tokens before a token settle its text in every decoder that is local. */
const ENOUGH = 4;

/** The last of `ids`, at least so many that they have text: what stands before the next token. */
function lastWords(decode: (ids: readonly number[]) => string, ids: readonly number[]): number[] {
  for (let count = ENOUGH; count < ids.length; count *= 2) {
    const words = ids.slice(-count);
    if (decode(words) !== '') return words;
  }
  return [...ids];
}

/** `add_bos_token` decides; left out, whether the post-processor begins a text with BOS. */
function addsBos(engine: Engine, config: TokenizerConfig | null, bosId: number | undefined): boolean {
  if (bosId === undefined) return false;
  return config?.add_bos_token ?? engine.encode('a', { add_special_tokens: true }).ids[0] === bosId;
}

/**
 * Works for every decoder that is local: `shown` are the ids whose text is out, `pending` those that wait. What is new is
 * the difference of two decodings that begin with the same ids, so that a decoder's treatment of the first token (which
 * may lose its space) cancels out.
 */
function windowDecoder(decode: (ids: readonly number[]) => string, behind: readonly number[]): StreamDecoder {
  let shown = behind;
  let pending: number[] = [];
  const fresh = (): string => decode([...shown, ...pending]).slice(decode(shown).length);
  return {
    push(id) {
      pending.push(id);
      const text = fresh();
      if (text === '' || text.endsWith('\ufffd')) return '';
      shown = pending;
      pending = [];
      return text;
    },
    flush() {
      const text = fresh();
      shown = [];
      pending = [];
      return text;
    },
  };
}
