import type { ReadOptions } from '../corpus.ts';
import { DataError, messageOf } from '../errors.ts';

/** What standard input is called on a command line. */
export const STDIN = '-';

/** Milliseconds without a byte after which a server counts as gone. */
const PATIENCE = 30_000;

let stdinTaken = false;

/** Standard input, which can be read once. @throws DataError (DATA_UNREADABLE) the second time */
export async function* stdinChunks({ signal, onRead }: ReadOptions = {}): AsyncGenerator<Uint8Array> {
  if (stdinTaken) {
    throw new DataError(
      'DATA_UNREADABLE',
      "standard input has been read and cannot be read again; write it to a file, or to a store with 'tokenize - --out STORE'",
    );
  }
  stdinTaken = true;
  let read = 0;
  // A read that waits for its writer ends at once when told.
  const stop = () => process.stdin.destroy(signal?.reason);
  signal?.addEventListener('abort', stop);
  try {
    signal?.throwIfAborted();
    for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
      signal?.throwIfAborted();
      read += chunk.length;
      yield chunk;
      onRead?.(read);
    }
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/** Whether a source is read from a server. */
export function isUrl(source: string): boolean {
  return /^https?:\/\//i.test(source);
}

/** What a server says of a file before it is read. @throws DataError (DATA_MISSING, DATA_UNREADABLE) */
export async function urlFacts(url: string): Promise<{ size: number | null; stamp: string | null }> {
  const { headers } = await request(url, 'HEAD');
  const length = headers.get('content-length');
  const size = length === null ? null : Number(length);
  const changed = headers.get('etag') ?? headers.get('last-modified');
  return { size: Number.isSafeInteger(size) ? size : null, stamp: changed === null ? null : `${size} ${changed}` };
}

/** The bytes that a server has at `url`. @throws DataError (DATA_MISSING, DATA_UNREADABLE), also when it stops sending */
export async function* urlChunks(url: string, { signal, onRead }: ReadOptions = {}): AsyncGenerator<Uint8Array> {
  const { body } = await request(url, 'GET', signal);
  if (body === null) return;
  let read = 0;
  const reader = body.getReader();
  const stop = () => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener('abort', stop);
  try {
    for (;;) {
      const { done, value } = await within(url, reader.read()).catch((cause: unknown) => {
        throw unreadable(url, cause);
      });
      signal?.throwIfAborted();
      if (done) return;
      read += value.length;
      yield value;
      onRead?.(read);
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    await reader.cancel().catch(() => {});
  }
}

async function request(url: string, method: 'GET' | 'HEAD', signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    // Its bytes as they are stored, so that their number is known.
    const headers = { 'accept-encoding': 'identity' };
    response = await within(url, fetch(url, { method, headers, ...(signal === undefined ? {} : { signal }) }));
  } catch (cause) {
    signal?.throwIfAborted();
    throw unreadable(url, cause);
  }
  if (response.ok) return response;
  await response.body?.cancel();
  const what = `${url}: the server answers ${response.status} ${response.statusText}`.trimEnd();
  throw new DataError(response.status === 404 ? 'DATA_MISSING' : 'DATA_UNREADABLE', `${what}; expected a file`);
}

async function within<T>(url: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came for ${PATIENCE / 1000} s`)), PATIENCE);
  });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw unreadable(url, error);
  } finally {
    clearTimeout(timer);
  }
}

function unreadable(url: string, cause: unknown): DataError {
  if (cause instanceof DataError) return cause;
  // fetch hides the reason behind 'fetch failed'.
  const reason = (cause as { cause?: unknown }).cause ?? cause;
  const why = messageOf(reason) || String((reason as { code?: unknown }).code ?? reason);
  return new DataError('DATA_UNREADABLE', `${url}: cannot be read: ${why}; is the server there?`, { cause });
}
