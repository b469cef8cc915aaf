import { formatShape, type TensorData } from '@lazy-attention/core';

/** A result on the host. */
export interface Result {
  readonly shape: readonly number[];
  readonly values: TensorData;
}

export type Results = Readonly<Record<string, Result>>;

/** What a failed test throws: what was compared, where it is worst, and by how much. */
export class ConformanceError extends Error {
  /** Always 'ConformanceError'. */
  override readonly name = 'ConformanceError';
}

/**
 * Relative Frobenius error of `actual`, with `expected` counted as at least `floor` per element (root mean square). NaN for
 * a NaN in either, unless `allowNaN` and both have it there.
 */
export function relativeError(
  actual: TensorData,
  expected: TensorData,
  floor: number,
  allowNaN: boolean = false,
): number {
  let squares = 0;
  let reference = 0;
  for (let i = 0; i < expected.length; i++) {
    if (allowNaN && Number.isNaN(actual[i]) && Number.isNaN(expected[i])) continue;
    // Equal infinities are right; their difference would be NaN.
    if (actual[i] !== expected[i]) squares += (actual[i] - expected[i]) ** 2;
    if (Number.isFinite(expected[i])) reference += expected[i] ** 2;
  }
  const size = Math.max(Math.sqrt(reference), floor * Math.sqrt(expected.length));
  return squares === 0 ? 0 : Math.sqrt(squares) / size;
}

/** Throws unless the results are those expected, each in its shape and within `tolerance`. */
export function assertClose(
  label: string,
  actual: Results,
  expected: Results,
  tolerance: number,
  floor: number,
  allowNaN: boolean = false,
): void {
  const names = Object.keys(actual).sort().join(', ');
  const expectedNames = Object.keys(expected).sort().join(', ');
  if (names !== expectedNames)
    throw new ConformanceError(`${label}: got ${names || 'nothing'}; expected ${expectedNames}`);
  for (const [name, got] of Object.entries(actual)) {
    const wanted = expected[name];
    if (formatShape(got.shape) !== formatShape(wanted.shape) || got.values.length !== wanted.values.length) {
      throw new ConformanceError(
        `${label}: ${name} has shape ${formatShape(got.shape)} and ${got.values.length} elements; expected ${formatShape(wanted.shape)}`,
      );
    }
    const error = relativeError(got.values, wanted.values, floor, allowNaN);
    // Written so that NaN fails.
    if (!(error <= tolerance)) {
      throw new ConformanceError(
        `${label}: ${name} ${formatShape(got.shape)} is off by ${format(error)} (relative Frobenius error), allowed ${format(tolerance)}; ${worst(got, wanted)}`,
      );
    }
  }
}

/** Throws unless both hold the same bits. */
export function assertIdentical(label: string, first: Results, second: Results): void {
  for (const [name, a] of Object.entries(first)) {
    const b = second[name];
    for (let i = 0; i < a.values.length; i++) {
      if (!Object.is(a.values[i], b.values[i])) {
        throw new ConformanceError(
          `${label}: ${name}${formatShape(position(i, a.shape))} was ${a.values[i]} the first time and ${b.values[i]} the second`,
        );
      }
    }
  }
}

function worst(actual: Result, expected: Result): string {
  let at = 0;
  let largest = -1;
  for (let i = 0; i < expected.values.length; i++) {
    const difference = Math.abs(actual.values[i] - expected.values[i]);
    const rank = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    if (rank > largest && !Object.is(actual.values[i], expected.values[i])) {
      at = i;
      largest = rank;
    }
  }
  const got = actual.values[at];
  const wanted = expected.values[at];
  const absolute = Math.abs(got - wanted);
  return `worst at ${formatShape(position(at, expected.shape))}: got ${got}, expected ${wanted} (absolute ${format(absolute)}, relative ${format(absolute / Math.abs(wanted))})`;
}

function position(index: number, shape: readonly number[]): number[] {
  const result: number[] = [];
  let rest = index;
  for (const size of shape.toReversed()) {
    result.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return result;
}

function format(value: number): string {
  return Number.isFinite(value) ? value.toExponential(2) : String(value);
}
