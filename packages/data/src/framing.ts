import { byteTokenizer } from './byte-tokenizer.ts';
import { DataError } from './errors.ts';
import type { ByteTokenizerJSON, Tokenizer } from './tokenizer.ts';
import { tokenizerFromJSON } from './tokenizer-json.ts';

/** The tokens around every document, where they are not the tokeniser's own. */
export interface Framing {
  /** Token put before every document; null for none. Left out: the tokeniser's own. */
  readonly bos?: string | null | undefined;
  /** Token put after every document; null for none. Left out: the tokeniser's own. */
  readonly eos?: string | null | undefined;
}

/** The same tokeniser with other tokens around documents. @throws DataError (TOKENIZER) for a token that it has not */
export function framed(tokenizer: Tokenizer, framing: Framing): Tokenizer {
  const json = tokenizer.toJSON();
  if (json.kind === 'bytes') return framedBytes(json.documentSeparator, framing);
  const { bos = json.bosToken, eos = json.eosToken } = framing;
  return tokenizerFromJSON({ ...json, bosToken: bos, eosToken: eos });
}

/** Bytes, whose only token around documents is the separator. @throws DataError (TOKENIZER) for a token by name */
export function framedBytes(own: ByteTokenizerJSON['documentSeparator'], { bos, eos }: Framing): Tokenizer {
  for (const [name, token] of Object.entries({ bos, eos })) {
    if (typeof token !== 'string') continue;
    throw new DataError('TOKENIZER', `bytes: have no ${name} token '${token}'; choose their separator or none`);
  }
  const before = own !== false && own !== 'after' && bos !== null;
  const after = own !== false && own !== 'before' && eos !== null;
  return byteTokenizer({ documentSeparator: before && after ? true : before ? 'before' : after ? 'after' : false });
}
