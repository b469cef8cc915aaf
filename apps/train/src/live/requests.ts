import type { IncomingMessage } from 'node:http';

/** Why a request is not answered. */
export interface Refusal {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Names by which this machine calls itself. */
const NAMES = ['127.0.0.1', 'localhost'];

/**
 * Null for a request that a page of this server, or a reader's address bar, makes. A name of another's that was pointed
 * at this machine (DNS rebinding) shows in Host, a page of another's in Origin or Sec-Fetch-Site.
 */
export function refuseRequest({ method, headers }: IncomingMessage, port: number): Refusal | null {
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, headers: { allow: 'GET, HEAD' } };
  const hosts = NAMES.map((name) => `${name}:${port}`);
  if (headers.host === undefined || !hosts.includes(headers.host.toLowerCase())) return { status: 421 };
  if (headers.origin !== undefined && !hosts.some((host) => headers.origin === `http://${host}`))
    return { status: 403 };
  const site = headers['sec-fetch-site'];
  const typed = site === undefined || site === 'none' || site === 'same-origin';
  return typed || headers['sec-fetch-mode'] === 'navigate' ? null : { status: 403 };
}

/** Headers of every answer. */
export const SAFE_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};
