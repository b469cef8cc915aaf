import * as v from 'valibot';
import { EvaluationError } from '../errors.ts';
import {
  checkRequest,
  encodePair,
  type RequestLimits,
  rollingWindows,
  type TextEncoder,
  type TokenRequest,
} from '../requests.ts';

const id = v.pipe(v.number(), v.integer(), v.minValue(0));
const textOrIds = v.union([v.string(), v.array(id)]);
const pair = v.strictObject({ context: textOrIds, continuation: textOrIds });
const rolling = v.union([v.strictObject({ text: v.string() }), v.strictObject({ ids: v.array(id) })]);
const line = v.union([pair, rolling]);

/** One line of a requests file: several windows where a text is longer than the model's context. */
export type Request = readonly TokenRequest[];

/**
 * A line of a requests file: `context` and `continuation` (strings, or arrays of ids), or `text` or `ids` alone.
 * @throws EvaluationError (REQUEST) that begins with `where`, also for what `limits` do not let pass
 */
export function parseRequest(encoder: TextEncoder, limits: RequestLimits, content: string, where: string): Request {
  let json: unknown;
  try {
    json = JSON.parse(content);
  } catch (cause) {
    throw new EvaluationError('REQUEST', `${where} is not JSON`, { cause });
  }
  const parsed = v.safeParse(line, json);
  if (!parsed.success) {
    throw new EvaluationError(
      'REQUEST',
      `${where} is no request; expected { context, continuation }, { text } or { ids }, texts as strings or arrays of ids`,
    );
  }
  let request: Request;
  try {
    request = windowsOf(encoder, parsed.output, limits.maxLength);
  } catch (error) {
    if (!(error instanceof EvaluationError)) throw error;
    throw new EvaluationError('REQUEST', `${where}: ${error.message}`, { cause: error });
  }
  if (request.length === 0) {
    throw new EvaluationError('REQUEST', `${where}: the text has no tokens; expected at least one`);
  }
  for (const window of request) checkRequest(window, limits, where);
  return request;
}

function windowsOf(encoder: TextEncoder, request: v.InferOutput<typeof line>, maxLength: number): Request {
  if ('context' in request) return [pairOf(encoder, request.context, request.continuation)];
  const ids = 'text' in request ? encoder.encode(request.text) : request.ids;
  return rollingWindows(ids, encoder.prefixId, maxLength);
}

type TextOrIds = string | readonly number[];

function pairOf(encoder: TextEncoder, context: TextOrIds, continuation: TextOrIds): TokenRequest {
  if (typeof context === 'string' && typeof continuation === 'string')
    return encodePair(encoder, context, continuation);
  const ids = {
    context: typeof context === 'string' ? encoder.encode(context) : context,
    continuation: typeof continuation === 'string' ? encoder.encodeAlone(continuation) : continuation,
  };
  if (ids.continuation.length === 0) {
    throw new EvaluationError('REQUEST', 'score: the continuation has no tokens; expected at least one');
  }
  return ids.context.length > 0 ? ids : { ...ids, context: [encoder.prefixId] };
}
