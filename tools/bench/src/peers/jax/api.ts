/**
 * The little of jax-js that is called here; its own types are there only where it is installed.
 *
 * An array is used up by what it is given to. Whoever needs it again gives `array.ref` instead.
 */
export interface JaxArray {
  readonly ref: JaxArray;
  readonly shape: number[];
  add(other: JaxArray | number): JaxArray;
  sub(other: JaxArray | number): JaxArray;
  mul(other: JaxArray | number): JaxArray;
  div(other: JaxArray | number): JaxArray;
  sum(axis?: number): JaxArray;
  greater(other: number): JaxArray;
  mean(axis: number, options: { keepdims: boolean }): JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  transpose(axes?: readonly number[]): JaxArray;
  /** [] keeps an axis, [begin, end] cuts it. */
  slice(...ranges: readonly (readonly number[])[]): JaxArray;
  data(): Promise<ArrayLike<number>>;
  dispose(): void;
}

export type Arrays = Record<string, JaxArray>;

export interface Jax {
  init(device?: string): Promise<readonly string[]>;
  defaultDevice(device: string): unknown;
  jit<F extends (...args: never[]) => unknown>(fn: F): F & { dispose(): void };
  valueAndGrad<P, A extends unknown[]>(
    fn: (params: P, ...args: A) => JaxArray,
  ): (params: P, ...args: A) => [JaxArray, P];
  blockUntilReady(tree: unknown): Promise<unknown>;
  readonly numpy: {
    array(data: Float32Array | Int32Array | number): JaxArray;
    zeros(shape: readonly number[]): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
    concatenate(parts: readonly JaxArray[], axis: number): JaxArray;
    split(x: JaxArray, parts: number, axis: number): [JaxArray, JaxArray];
    broadcastTo(x: JaxArray, shape: readonly number[]): JaxArray;
    flip(x: JaxArray, axis: number): JaxArray;
    sqrt(x: JaxArray): JaxArray;
    reciprocal(x: JaxArray): JaxArray;
    minimum(a: JaxArray, b: number): JaxArray;
    where(condition: JaxArray, a: JaxArray, b: number): JaxArray;
  };
  readonly nn: {
    softmax(x: JaxArray, axis: number): JaxArray;
    logSoftmax(x: JaxArray, axis: number): JaxArray;
    silu(x: JaxArray): JaxArray;
    oneHot(ids: JaxArray, classes: number): JaxArray;
  };
}

export function arrayOf({ numpy }: Jax, values: Float32Array | Int32Array, shape: readonly number[]): JaxArray {
  return numpy.array(values).reshape(shape);
}

/** A reference to each. */
export function refs(arrays: Arrays): Arrays {
  return Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, array.ref]));
}

export function disposeAll(...records: readonly Arrays[]): void {
  for (const array of records.flatMap(Object.values)) (array as JaxArray).dispose();
}
