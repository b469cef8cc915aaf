import { byteTokenizer } from './byte-tokenizer.ts';
import { DataError } from './errors.ts';
import { huggingFaceTokenizerFromJSON } from './huggingface-tokenizer.ts';
import type { Tokenizer, TokenizerJSON } from './tokenizer.ts';

/** The tokeniser whose `toJSON()` this is. @throws DataError (TOKENIZER) when it is nobody's */
export function tokenizerFromJSON(json: TokenizerJSON): Tokenizer {
  if (json?.kind === 'bytes') return byteTokenizer({ documentSeparator: json.documentSeparator });
  if (json?.kind === 'tokenizer.json') return huggingFaceTokenizerFromJSON(json);
  const kind = (json as { kind?: unknown } | null)?.kind;
  throw new DataError('TOKENIZER', `saved tokeniser: kind is ${String(kind)}; expected 'bytes' or 'tokenizer.json'`);
}
