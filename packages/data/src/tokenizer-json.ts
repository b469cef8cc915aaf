import { byteTokenizer } from './byte-tokenizer.ts';
import { huggingFaceTokenizerFromJSON } from './huggingface-tokenizer.ts';
import { parseAs } from './schema.ts';
import type { Tokenizer, TokenizerJSON } from './tokenizer.ts';
import { savedTokenizer } from './tokenizer-schema.ts';

/** The tokeniser whose `toJSON()` this is, as read from a file. @throws DataError (TOKENIZER) when it is nobody's */
export function tokenizerFromJSON(json: TokenizerJSON): Tokenizer {
  const saved = parseAs(savedTokenizer, json, 'TOKENIZER', 'saved tokeniser');
  return saved.kind === 'bytes' ? byteTokenizer(saved) : huggingFaceTokenizerFromJSON(saved);
}
