import * as v from 'valibot';
import { DataError, type DataErrorCode } from './errors.ts';

/**
 * `value`, which came from a file, in the type of `schema`.
 * @throws DataError with `code` and the place of the first thing that is wrong, what it is and what was expected
 */
export function parseAs<T extends v.GenericSchema>(
  schema: T,
  value: unknown,
  code: DataErrorCode,
  where: string,
): v.InferOutput<T> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue) ?? 'the content';
  const expected = issue.type === 'custom' ? issue.message : issue.expected;
  const found = issue.input === undefined ? 'is missing' : `is ${describe(issue.input)}`;
  throw new DataError(code, `${where}: ${path} ${found}; expected ${expected}`);
}

/** A value for a message, not longer than a few words. */
export function describe(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}

/** A JSON object with anything in it. */
export const jsonObject = v.custom<object>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'an object',
);
