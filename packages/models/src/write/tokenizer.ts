import type { Tokenizer } from '@lazy-attention/data';

/** tokenizer.json and tokenizer_config.json, parsed. */
export interface TokenizerFiles {
  readonly tokenizer: object;
  readonly config: object;
}

/** What to write beside a model so that Python's libraries give the same ids. */
export function tokenizerFiles(tokenizer: Tokenizer): TokenizerFiles {
  const json = tokenizer.toJSON();
  if (json.kind === 'bytes') return byteFiles(json.documentSeparator);
  return {
    tokenizer: json.tokenizer,
    config: { tokenizer_class: 'PreTrainedTokenizerFast', ...(json.config ?? roles(json)) },
  };
}

function roles({
  bosToken,
  eosToken,
  padToken,
}: {
  bosToken: string | null;
  eosToken: string | null;
  padToken: string | null;
}) {
  return { bos_token: bosToken, eos_token: eosToken, pad_token: padToken };
}

const SEPARATOR = '<|document|>';

/** Bytes as byte-level BPE without merges; the separator of documents, if any, is id 256. */
function byteFiles(documentSeparator: boolean | 'before' | 'after'): TokenizerFiles {
  // Without merges it does not matter where words end; with the expression of GPT-2 GGUF has a name for it.
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const added = {
    id: 256,
    content: SEPARATOR,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  };
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: documentSeparator ? [added] : [],
      normalizer: null,
      pre_tokenizer: bytes,
      post_processor: null,
      decoder: bytes,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries([
          ...byteCharacters().map((character, byte) => [character, byte]),
          ...(documentSeparator ? [[SEPARATOR, 256]] : []),
        ]),
        merges: [],
      },
    },
    config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      ...(documentSeparator === false || documentSeparator === 'after' ? {} : { bos_token: SEPARATOR }),
      ...(documentSeparator === false || documentSeparator === 'before' ? {} : { eos_token: SEPARATOR }),
    },
  };
}

/** The letters in which byte-level BPE spells bytes: printable ones are themselves, the others follow from U+0100. */
function byteCharacters(): string[] {
  let other = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCodePoint(printable ? byte : other++);
  });
}
