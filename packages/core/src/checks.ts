import { DTYPES, type DType, statisticsDType } from './dtype.ts';
import { BackendMismatchError, DisposedError, DTypeError, ShapeError, UnsupportedError, ValueError } from './errors.ts';
import { describe, formatShape, type Shape, sameShape } from './shape.ts';
import type { TensorStore } from './store.ts';
import { Tensor } from './tensor.ts';

/** Tensors of an op by argument name, for messages. */
export type Named = Readonly<Record<string, Tensor>>;

/** All are tensors of `backend`, and neither they nor it are disposed. */
export function checkOwned(backend: TensorStore, op: string, tensors: Named): void {
  backend.checkAlive(op);
  for (const name in tensors) {
    const x = tensors[name];
    if (!(x instanceof Tensor)) throw new ValueError(`${op}: ${name} is ${describe(x)}; expected a Tensor`);
    if (x.backend !== backend) {
      const owner = x.backend.name === backend.name ? `another instance of backend` : `backend`;
      throw new BackendMismatchError(
        `${op}: ${name} belongs to ${owner} '${x.backend.name}', not to this '${backend.name}'; copy it with backend.tensor(await ${name}.data(), ...)`,
      );
    }
    if (x.disposed) throw new DisposedError(`${op}: ${name} ${formatShape(x.shape)} has been disposed`);
  }
}

/** Owned, floating, and of one type. */
export function checkFloat(backend: TensorStore, op: string, tensors: Named): void {
  checkOwned(backend, op, tensors);
  for (const name in tensors) {
    if (tensors[name].dtype === 'i32') throw new DTypeError(`${op}: ${name} is i32; expected a floating type`);
  }
  checkSameDType(op, tensors);
}

/** As `checkFloat`, and all of the first one's shape. */
export function checkElementwise(backend: TensorStore, op: string, tensors: Named): void {
  checkFloat(backend, op, tensors);
  const entries = Object.entries(tensors);
  const [firstName, first] = entries[0];
  for (const [name, x] of entries) {
    if (!sameShape(x.shape, first.shape)) {
      throw new ShapeError(
        `${op}: ${name} has shape ${formatShape(x.shape)}; expected that of ${firstName}, ${formatShape(first.shape)}`,
      );
    }
  }
}

/** Owned i32 with all values in [0, vocabulary), or `ignore`. */
export function checkIds(
  backend: TensorStore,
  op: string,
  name: string,
  ids: Tensor,
  vocabulary: number,
  ignore?: number,
): void {
  checkOwned(backend, op, { [name]: ids });
  if (ids.dtype !== 'i32') throw new DTypeError(`${op}: ${name} is ${ids.dtype}; expected i32`);
  const values = ids.storage.indices as Int32Array;
  for (let i = 0; i < values.length; i++) {
    const id = values[i];
    if ((id < 0 || id >= vocabulary) && id !== ignore) {
      throw new ValueError(
        `${op}: ${name} holds ${id} at element ${i}; expected 0 to ${vocabulary - 1} (the vocabulary has ${vocabulary} entries)`,
      );
    }
  }
}

/** A known type that this backend has. */
export function checkDType(backend: TensorStore, op: string, dtype: DType): void {
  if (!DTYPES.includes(dtype)) {
    throw new DTypeError(`${op}: dtype is ${describe(dtype)}; expected one of ${DTYPES.join(', ')}`);
  }
  if (!backend.dtypes.has(dtype)) {
    throw new UnsupportedError(
      `${op}: backend '${backend.name}' (${backend.device}) has no ${dtype}; it has ${[...backend.dtypes].join(', ')}`,
    );
  }
}

export function checkShapeIs(op: string, name: string, x: Tensor, expected: Shape): void {
  if (!sameShape(x.shape, expected)) {
    throw new ShapeError(`${op}: ${name} has shape ${formatShape(x.shape)}; expected ${formatShape(expected)}`);
  }
}

/** Shape [] in the statistics type beside `operands`. */
export function checkStatisticsScalar(op: string, name: string, x: Tensor, operands: DType): void {
  checkShapeIs(op, name, x, []);
  const expected = statisticsDType(operands);
  if (x.dtype !== expected) {
    throw new DTypeError(`${op}: ${name} is ${x.dtype}; expected ${expected} beside ${operands} operands`);
  }
}

export function checkSameDType(op: string, tensors: Named): void {
  let first: string | undefined;
  for (const name in tensors) {
    first ??= name;
    if (tensors[name].dtype !== tensors[first].dtype) {
      throw new DTypeError(
        `${op}: ${name} is ${tensors[name].dtype} and ${first} is ${tensors[first].dtype}; expected one type; use cast`,
      );
    }
  }
}

export function definedOnly(tensors: Readonly<Record<string, Tensor | undefined>>): Named {
  return Object.fromEntries(
    Object.entries(tensors).filter((entry): entry is [string, Tensor] => entry[1] !== undefined),
  );
}
