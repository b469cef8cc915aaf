import { ShapeError, ValueError } from './errors.ts';

/** Sizes of a tensor, the last axis fastest. [] is a single element. */
export type Shape = readonly number[];

/*
 * Loops over shapes count by index: every op runs several of them, the shapes of tensors are frozen, and on frozen arrays
 * V8 takes slow paths for slice, every and iterators.
 */

/** Product of all sizes. */
export function elementCount(shape: Shape): number {
  return countBetween(shape, 0, shape.length);
}

/** Product of the sizes on the axes from `start` up to but not `end`. */
export function countBetween(shape: Shape, start: number, end: number): number {
  let count = 1;
  for (let axis = start; axis < end; axis++) count *= shape[axis];
  return count;
}

/** As in messages: '[2, 3]'. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** Whether both have the same sizes. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a === b || (a.length === b.length && agreeBetween(a, b, 0, a.length));
}

/** Whether both have the same sizes on the axes from `start` up to but not `end`. */
export function agreeBetween(a: Shape, b: Shape, start: number, end: number): boolean {
  for (let axis = start; axis < end; axis++) if (a[axis] !== b[axis]) return false;
  return true;
}

/** Frozen shapes by hash; one that shares a slot with another takes its place. */
const interned: (Shape | undefined)[] = new Array(256).fill(undefined);

/**
 * A frozen array with these sizes. A program makes tensors of the same few shapes again and again, and to find the
 * array costs less than to copy and freeze another; `sameShape` is then mostly a comparison of references.
 */
export function internShape(shape: Shape): Shape {
  let hash = shape.length;
  for (let axis = 0; axis < shape.length; axis++) hash = Math.imul(hash ^ shape[axis], 0x9e3779b1);
  const slot = hash >>> 24;
  const known = interned[slot];
  if (known !== undefined && sameShape(known, shape)) return known;
  const copy = Object.freeze(Array.from(shape));
  interned[slot] = copy;
  return copy;
}

/** Largest number of elements in one tensor: kernels index with 32-bit signed integers. */
export const MAX_ELEMENTS = 2 ** 31 - 1;

/**
 * Refuses anything but positive integers whose product an index can hold. Sizes of zero have no use here and are errors.
 *
 * Returns a frozen copy, which is what was checked: the caller's array may change, or answer otherwise the second time.
 */
export function checkShape(op: string, shape: Shape): Shape {
  if (!Array.isArray(shape)) throw new ShapeError(`${op}: shape must be an array of sizes, got ${describe(shape)}`);
  const sizes = internShape(shape);
  for (let axis = 0; axis < sizes.length; axis++) {
    const size = sizes[axis];
    if (!Number.isInteger(size) || size <= 0) {
      throw new ShapeError(
        `${op}: shape ${formatShape(sizes)} has size ${describe(size)} on axis ${axis}; sizes are positive integers`,
      );
    }
  }
  if (elementCount(sizes) > MAX_ELEMENTS) {
    throw new ShapeError(`${op}: shape ${formatShape(sizes)} has more than ${MAX_ELEMENTS} elements; split the tensor`);
  }
  return sizes;
}

/** An integer from `low` to `high`. */
export function checkInteger(op: string, name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new ValueError(`${op}: ${name} is ${describe(value)}; expected an integer from ${low} to ${high}`);
  }
}

/** A number, and no infinity. */
export function checkFinite(op: string, name: string, value: number): void {
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new ValueError(`${op}: ${name} is ${describe(value)}; expected a finite number`);
  }
}

/** A finite number above 0. */
export function checkPositive(op: string, name: string, value: number): void {
  checkFinite(op, name, value);
  if (value <= 0) throw new ValueError(`${op}: ${name} is ${value}; expected a positive number`);
}

/** A copy of an array, so that what is checked is what is used. */
export function checkList<T>(op: string, name: string, value: readonly T[]): T[] {
  if (!Array.isArray(value)) throw new ValueError(`${op}: ${name} is ${describe(value)}; expected an array`);
  return Array.from<T>(value);
}

/** True or false, and nothing that counts as one: backends would differ. */
export function checkFlag(op: string, name: string, value: boolean): void {
  if (typeof value !== 'boolean') throw new ValueError(`${op}: ${name} is ${describe(value)}; expected true or false`);
}

/** An object, whatever its members are. */
export function checkObject(op: string, name: string, value: object): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ValueError(`${op}: ${name} is ${describe(value)}; expected an object`);
  }
}

/** Options are plain objects with known keys: a misspelt option is an error, never ignored. */
export function checkOptions(op: string, options: object, known: readonly string[]): void {
  checkObject(op, 'options', options);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new ValueError(
        `${op}: unknown option '${key}'; expected ${known.length === 0 ? 'none' : known.join(', ')}`,
      );
    }
  }
}

const lengthGetter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'length')?.get;

/** The length of a typed array itself, whatever a subclass says. */
export function typedLength(array: ArrayBufferView): number {
  return lengthGetter?.call(array);
}

/** @throws ValueError for an array that had `length` elements when `op` began, and whose memory was transferred since */
export function checkStillThere(op: string, array: ArrayBufferView, length: number): void {
  if (typedLength(array) === length) return;
  throw new ValueError(
    `${op}: the array had ${length} elements and has ${typedLength(array)} now; its memory was transferred: wait for ${op} first`,
  );
}

/** A value as messages show it. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value === 'object' && value !== null) return `a value of type ${value.constructor?.name ?? 'object'}`;
  return String(value);
}
