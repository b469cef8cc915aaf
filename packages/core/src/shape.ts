import { ShapeError, ValueError } from './errors.ts';

export type Shape = readonly number[];

export function elementCount(shape: Shape): number {
  let count = 1;
  for (const size of shape) count *= size;
  return count;
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** Largest number of elements in one tensor: kernels index with 32-bit signed integers. */
export const MAX_ELEMENTS = 2 ** 31 - 1;

/** Refuses anything but positive integers whose product an index can hold. Sizes of zero have no use here and are errors. */
export function checkShape(op: string, shape: Shape): void {
  if (!Array.isArray(shape)) throw new ShapeError(`${op}: shape must be an array of sizes, got ${describe(shape)}`);
  for (const [axis, size] of shape.entries()) {
    if (!Number.isInteger(size) || size <= 0) {
      throw new ShapeError(
        `${op}: shape ${formatShape(shape)} has size ${size} on axis ${axis}; sizes are positive integers`,
      );
    }
  }
  if (elementCount(shape) > MAX_ELEMENTS) {
    throw new ShapeError(`${op}: shape ${formatShape(shape)} has more than ${MAX_ELEMENTS} elements; split the tensor`);
  }
}

export function checkInteger(op: string, name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new ValueError(`${op}: ${name} is ${describe(value)}; expected an integer from ${low} to ${high}`);
  }
}

export function checkFinite(op: string, name: string, value: number): void {
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new ValueError(`${op}: ${name} is ${describe(value)}; expected a finite number`);
  }
}

export function checkPositive(op: string, name: string, value: number): void {
  checkFinite(op, name, value);
  if (value <= 0) throw new ValueError(`${op}: ${name} is ${value}; expected a positive number`);
}

/** Options are plain objects with known keys: a misspelt option is an error, never ignored. */
export function checkOptions(op: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new ValueError(
        `${op}: unknown option '${key}'; expected ${known.length === 0 ? 'none' : known.join(', ')}`,
      );
    }
  }
}

export function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value === 'object' && value !== null) return `a value of type ${value.constructor?.name ?? 'object'}`;
  return String(value);
}
