import type { Tokenizer } from '@lazy-attention/data';
import { EvaluationError } from './errors.ts';

/** What is scored: the log-probability of `continuation` after `context`. */
export interface TokenRequest {
  /** At least one id. */
  readonly context: readonly number[];
  /** At least one id. */
  readonly continuation: readonly number[];
}

/** How text becomes ids. */
export interface TextEncoder {
  /** The ids of a text as the model expects them at its beginning: with BOS where the tokenizer adds one. */
  encode(text: string): readonly number[];
  /** The ids of the text alone. */
  encodeAlone(text: string): readonly number[];
  /** What an empty context becomes: BOS, or EOS where there is none. Reading it throws where there is neither. */
  readonly prefixId: number;
}

/**
 * From a tokenizer. `prefixId` is by default its BOS, also where it does not put one before a text, or its EOS where it has none;
 * `addBos` is by default what the tokenizer's own rules say.
 * Where there is neither, as with bytes, a request without context is an EvaluationError (REQUEST).
 */
export function textEncoder(
  tokenizer: Tokenizer,
  options: { readonly prefixId?: number | undefined; readonly addBos?: boolean | undefined } = {},
): TextEncoder {
  const bosId = bosOf(tokenizer);
  const prefixId = options.prefixId ?? bosId ?? tokenizer.eosId;
  const addBos = options.addBos ?? tokenizer.addsBos;
  const encodeAlone = (text: string) => Array.from(tokenizer.encode(text));
  const encode = (text: string) => {
    const ids = encodeAlone(text);
    // A text that begins with BOS already gets no second one.
    return addBos && bosId !== undefined && ids[0] !== bosId ? [bosId, ...ids] : ids;
  };
  return {
    encode,
    encodeAlone,
    get prefixId() {
      if (prefixId !== undefined) return prefixId;
      throw new EvaluationError(
        'REQUEST',
        `score: tokenizer '${tokenizer.name}' has no BOS and no EOS to begin an empty context with; give a context`,
      );
    },
  };
}

/** The id of BOS, also of a tokenizer that is told not to put it before documents. */
function bosOf(tokenizer: Tokenizer): number | undefined {
  if (tokenizer.bosId !== undefined) return tokenizer.bosId;
  const json = tokenizer.toJSON();
  if (json.kind !== 'tokenizer.json' || json.config === null) return undefined;
  const { bos_token: token } = json.config as { bos_token?: unknown };
  const content = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
  if (typeof content !== 'string') return undefined;
  const ids = tokenizer.encode(content);
  return ids.length === 1 ? ids[0] : undefined;
}

/**
 * Ids of a context and its continuation by lm-eval's rules: spaces at the end of the context move to the continuation, whose ids
 * are those of the whole text after as many as the context has; an empty context becomes the prefix token.
 * @throws EvaluationError (REQUEST) for a continuation without ids
 */
export function encodePair(encoder: TextEncoder, context: string, continuation: string): TokenRequest {
  if (context === '') {
    const ids = encoder.encodeAlone(continuation);
    return checked(
      continuation,
      ids[0] === encoder.prefixId
        ? { context: ids.slice(0, 1), continuation: ids.slice(1) }
        : { context: [encoder.prefixId], continuation: ids },
    );
  }
  const kept = context.trimEnd();
  const before = encoder.encode(kept);
  const whole = encoder.encode(context + continuation);
  // A context of spaces alone has no ids where no BOS is added.
  if (before.length === 0) return encodePair(encoder, '', context + continuation);
  return checked(continuation, { context: whole.slice(0, before.length), continuation: whole.slice(before.length) });
}

function checked(continuation: string, request: TokenRequest): TokenRequest {
  if (request.continuation.length > 0) return request;
  throw new EvaluationError(
    'REQUEST',
    `score: the continuation ${JSON.stringify(continuation)} has no tokens; expected at least one`,
  );
}

/** What a model can be asked. */
export interface RequestLimits {
  /** Longest input, in tokens. */
  readonly maxLength: number;
  /** Ids are below it. */
  readonly vocabSize: number;
}

/** @throws EvaluationError (REQUEST) that begins with `where`: an empty part, one that is too long, an id outside the vocabulary */
export function checkRequest(
  { context, continuation }: TokenRequest,
  { maxLength, vocabSize }: RequestLimits,
  where: string,
): void {
  if (context.length === 0) throw new EvaluationError('REQUEST', `${where}: the context is empty; begin it with BOS`);
  if (continuation.length === 0) throw new EvaluationError('REQUEST', `${where}: the continuation is empty`);
  if (continuation.length > maxLength) {
    throw new EvaluationError(
      'REQUEST',
      `${where}: the continuation has ${continuation.length} tokens; the model takes ${maxLength}; score it in pieces, or as text alone`,
    );
  }
  for (const ids of [context, continuation]) {
    const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (bad === undefined) continue;
    throw new EvaluationError('REQUEST', `${where}: token id ${String(bad)} is not in the vocabulary of ${vocabSize}`);
  }
}

/**
 * Windows that together score every id of `ids` once (lm-eval's rolling log-likelihood, disjoint windows): the first one
 * begins with the prefix token, each later one with the last id of the one before.
 */
export function rollingWindows(ids: readonly number[], prefixId: number, maxLength: number): TokenRequest[] {
  const windows: TokenRequest[] = [];
  for (let from = 0; from < ids.length; from += maxLength) {
    const continuation = ids.slice(from, from + maxLength);
    // The last window of lm-eval is as long as the others but for what has been scored, which then is context.
    const room = from === 0 ? 1 : maxLength + 1 - continuation.length;
    const context = from === 0 ? [prefixId] : ids.slice(from - room, from);
    windows.push({ context, continuation });
  }
  return windows;
}
