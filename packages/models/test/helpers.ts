import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Backend, createBackend } from '@lazy-attention/core';
import type { LoadedModel } from '../src/index.ts';

export const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

export const readFixture = <T>(name: string): T => JSON.parse(readFileSync(fixture(name), 'utf8')) as T;

/** Real weights, which are not part of the project. */
const REAL = process.env.LAZY_ATTENTION_MODELS ?? fileURLToPath(new URL('../../../../shared/models', import.meta.url));
export const realModel = (name: string): string => `${REAL}/${name}`;
/** For the title of a suite: why it is skipped, or ''. */
export const whyNoModel = (name: string): string =>
  existsSync(realModel(name)) ? '' : ` (skipped: no ${realModel(name)}; name the folder in LAZY_ATTENTION_MODELS)`;

/** What a program in Python computed. */
export interface Expected {
  readonly ids: readonly (readonly number[])[];
  readonly shape: readonly number[];
  /** Little-endian floats in base64. */
  readonly logits: string;
}

export function floatsOf(base64: string): Float32Array {
  return new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
}

/** Relative Frobenius error of the logits of all positions. */
export async function logitsError(
  backend: Backend,
  { model, params }: LoadedModel,
  expected: Expected,
): Promise<number> {
  const ids = Int32Array.from(expected.ids.flat());
  const tokens = backend.tensor(ids, [expected.ids.length, expected.ids[0].length]);
  const logits = model.forward(backend, params, tokens);
  const found = await logits.data();
  logits.dispose();
  tokens.dispose();
  const right = floatsOf(expected.logits);
  if (found.length !== right.length) return Number.POSITIVE_INFINITY;
  let wrong = 0;
  let all = 0;
  for (let i = 0; i < right.length; i++) {
    wrong += (found[i] - right[i]) ** 2;
    all += right[i] ** 2;
  }
  return Math.sqrt(wrong / all);
}

/** Runs on a backend that is given back afterwards. */
export async function on<T>(name: string, fn: (backend: Backend) => Promise<T>): Promise<T> {
  const backend = await createBackend(name);
  try {
    return await fn(backend);
  } finally {
    await backend.dispose();
  }
}
