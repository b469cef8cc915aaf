import { ModelError } from '../errors.ts';

/** How byte-level BPE cuts a text before it merges, as tokenizer.json says it. */
export interface Split {
  readonly split: object;
  readonly normalizer: object | null;
  /** A word that is in the vocabulary is one token, whatever the merges say. */
  readonly ignoreMerges: boolean;
}

const bytes = (useRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

/** Words cut by an expression of the model's own. */
const by = (expression: string) => ({
  type: 'Sequence',
  pretokenizers: [{ type: 'Split', pattern: { Regex: expression }, behavior: 'Isolated', invert: false }, bytes(false)],
});

/** Llama 3 and Qwen 2 differ in how many digits stay together. */
const words = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const GPT2: Split = { split: bytes(true), normalizer: null, ignoreMerges: false };
const DIGITS_APART: Split = {
  split: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, bytes(true)] },
  normalizer: null,
  ignoreMerges: false,
};
const LLAMA3: Split = { split: by(words('\\p{N}{1,3}')), normalizer: null, ignoreMerges: true };
const QWEN2: Split = { split: by(words('\\p{N}')), normalizer: { type: 'NFC' }, ignoreMerges: false };

/** By the key `tokenizer.ggml.pre`. */
const SPLITS: Readonly<Record<string, Split>> = {
  'gpt-2': GPT2,
  smollm: DIGITS_APART,
  starcoder: DIGITS_APART,
  'llama-bpe': LLAMA3,
  'smaug-bpe': LLAMA3,
  qwen2: QWEN2,
};

/** @throws ModelError MODEL_UNSUPPORTED for a split that is not known */
export function preTokenizer(path: string, pre: string): Split {
  if (Object.hasOwn(SPLITS, pre)) return SPLITS[pre];
  throw new ModelError(
    'MODEL_UNSUPPORTED',
    path,
    `key 'tokenizer.ggml.pre' is '${pre}'; supported are ${Object.keys(SPLITS).join(', ')}`,
  );
}

/** The name of the split that a tokenizer.json has, or null. */
export function preOf(split: unknown): string | null {
  const shown = JSON.stringify(cutting(split));
  return Object.keys(SPLITS).find((name) => JSON.stringify(cutting(SPLITS[name].split)) === shown) ?? null;
}

/** What of a pre-tokenizer decides where words end: neither offsets nor a space before the text. */
function cutting(part: unknown): unknown {
  if (typeof part !== 'object' || part === null) return part;
  const { type, pretokenizers, individual_digits, use_regex, pattern, behavior } = part as Record<string, unknown>;
  const inner = Array.isArray(pretokenizers) ? pretokenizers.map(cutting) : undefined;
  return { type, inner, individual_digits, use_regex, pattern, behavior };
}
