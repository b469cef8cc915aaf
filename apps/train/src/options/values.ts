import * as v from 'valibot';

/** What an option, or a value in a file, may be: the one place that says its range. */
export interface Value<T> {
  /** For messages, after "expected": 'an integer of at least 1'. */
  readonly expected: string;
  /** The value that a command line's text stands for, or undefined when it stands for none. */
  read(text: string): T | undefined;
  /** Checks a value parsed from JSON. */
  readonly schema: v.GenericSchema<unknown, T>;
  /** The same as JSON Schema. */
  readonly json: object;
}

/** Whole numbers from `low` to `high`; thousands may be set apart by `_` on a command line. */
export function integer(low: number, high: number = Number.MAX_SAFE_INTEGER): Value<number> {
  const top = high === Number.MAX_SAFE_INTEGER ? '' : ` and at most ${high}`;
  const json = { type: 'integer', minimum: low, ...(top === '' ? {} : { maximum: high }) };
  return numeric(`an integer of at least ${low}${top}`, json, (x) => Number.isSafeInteger(x) && x >= low && x <= high);
}

/** Numbers from `low` to `high`, both included. */
export function range(low: number, high: number): Value<number> {
  const json = { type: 'number', minimum: low, maximum: high };
  return numeric(`a number from ${low} to ${high}`, json, (x) => x >= low && x <= high);
}

/** Finite numbers above 0. */
export const positive: Value<number> = numeric(
  'a positive number',
  { type: 'number', exclusiveMinimum: 0 },
  (x) => x > 0 && Number.isFinite(x),
);

/** A probability that keeps something. */
export const share: Value<number> = numeric(
  'a number above 0 and at most 1',
  { type: 'number', exclusiveMinimum: 0, maximum: 1 },
  (x) => x > 0 && x <= 1,
);

/** Text of at least one character. */
export const text: Value<string> = {
  expected: 'at least one character',
  read: (given) => (given === '' ? undefined : given),
  schema: checked('a text of at least one character', (x): x is string => typeof x === 'string' && x !== ''),
  json: { type: 'string', minLength: 1 },
};

/** One of several names. */
export function choice<const T extends string>(names: readonly T[]): Value<T> & { readonly names: readonly T[] } {
  const expected = `one of ${names.join(', ')}`;
  const isName = (x: unknown): x is T => names.includes(x as T);
  return {
    expected,
    names,
    read: (given) => names.find((name) => name === given),
    schema: checked(expected, isName),
    json: { enum: names },
  };
}

/** Several different names, with commas between them on a command line. */
export function choices<const T extends string>(names: readonly T[]): Value<T[]> {
  const expected = `different names of ${names.join(', ')}`;
  const areNames = (x: unknown): x is T[] =>
    Array.isArray(x) && x.length > 0 && new Set(x).size === x.length && x.every((name) => names.includes(name));
  return {
    expected,
    read(given) {
      const parts = given.split(',').map((part) => part.trim());
      return areNames(parts) ? parts : undefined;
    },
    schema: checked(expected, areNames),
    json: { type: 'array', items: { enum: names }, uniqueItems: true, minItems: 1 },
  };
}

/** Whole numbers from `low` to `high`, with commas between them on a command line. */
export function integers(low: number, high: number): Value<number[]> {
  const expected = `integers from ${low} to ${high} with commas between them`;
  const areIntegers = (x: unknown): x is number[] =>
    Array.isArray(x) && x.length > 0 && x.every((n) => Number.isSafeInteger(n) && n >= low && n <= high);
  return {
    expected,
    read(given) {
      const parts = given.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
      return areIntegers(parts) ? parts : undefined;
    },
    schema: checked(expected, areIntegers),
    json: { type: 'array', items: { type: 'integer', minimum: low, maximum: high }, minItems: 1 },
  };
}

/** Two whole numbers, the second above the first; 'START:END' on a command line. */
export const span: Value<[number, number]> = {
  expected: 'START:END, whole numbers from 0 with END above START',
  read(given) {
    const parts = given.split(':').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
    return isSpan(parts) ? parts : undefined;
  },
  schema: checked('two whole numbers from 0, the second above the first', isSpan),
  json: { type: 'array', items: { type: 'integer', minimum: 0 }, minItems: 2, maxItems: 2 },
};

function isSpan(x: unknown): x is [number, number] {
  return Array.isArray(x) && x.length === 2 && x.every((n) => Number.isSafeInteger(n) && n >= 0) && x[1] > x[0];
}

/** An option without a value: given or not. */
export const flag: Value<boolean> = {
  expected: 'true or false',
  read: (given) => (given === 'true' ? true : given === 'false' ? false : undefined),
  schema: checked('true or false', (x): x is boolean => typeof x === 'boolean'),
  json: { type: 'boolean' },
};

/** A schema whose every failure says what was expected. */
export function checked<T>(expected: string, accepts: (value: unknown) => value is T): v.GenericSchema<unknown, T> {
  return v.custom<T>((value) => accepts(value), expected) as v.GenericSchema<unknown, T>;
}

function numeric(expected: string, json: object, fits: (x: number) => boolean): Value<number> {
  return {
    expected,
    json,
    read(given) {
      const value = Number(given.replaceAll('_', ''));
      return given.trim() !== '' && fits(value) ? value : undefined;
    },
    schema: checked(expected, (x): x is number => typeof x === 'number' && fits(x)),
  };
}
