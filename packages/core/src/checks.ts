import { computedDType, DTYPES, type DType, isPacked, statisticsDType } from './dtype.ts';
import { BackendMismatchError, DisposedError, DTypeError, ShapeError, UnsupportedError, ValueError } from './errors.ts';
import { checkTensor, type Owner, type Tensor } from './lifetimes/tensor.ts';
import { describe, formatShape, type Shape, sameShape } from './shape.ts';

/*
 * Every op runs these. Checks on several tensors take the arguments' names, for messages, and the tensors as two arrays:
 * to go through an object by its keys costs several times as much.
 */

/** What checks need of a backend. */
interface Checked extends Owner {
  readonly device: string;
  readonly dtypes: ReadonlySet<DType>;
  checkAlive(op: string): void;
}

/** A tensor of `backend`, and neither of them is disposed. */
export function checkOwned(backend: Checked, op: string, name: string, x: Tensor): void {
  checkHeld(backend, op, name, x);
  if (isPacked(x.dtype)) {
    throw new DTypeError(
      `${op}: ${name} is packed (${x.dtype}); packed weights go to matmul as b with transposeB and without transposeA, to embedding and to the decoder`,
    );
  }
}

/** A matrix of weights, packed or of the type `beside` itself. */
export function checkWeight(backend: Checked, op: string, name: string, x: Tensor, beside: DType): void {
  checkHeld(backend, op, name, x);
  const expected = computedDType(x.dtype);
  if (expected === beside) return;
  if (x.dtype === 'i32') throw new DTypeError(`${op}: ${name} is i32; expected a floating type`);
  throw new DTypeError(`${op}: ${name} is ${x.dtype}, which goes with ${expected}; the other operands are ${beside}`);
}

/** As `checkOwned`, of every type. */
function checkHeld(backend: Checked, op: string, name: string, x: Tensor): void {
  backend.checkAlive(op);
  checkTensor(op, name, x);
  if (x.backend !== backend) {
    const owner = x.backend.name === backend.name ? `another instance of backend` : `backend`;
    throw new BackendMismatchError(
      `${op}: ${name} belongs to ${owner} '${x.backend.name}', not to this '${backend.name}'; copy it with backend.tensor(await ${name}.data(), ...)`,
    );
  }
  if (x.disposed) throw new DisposedError(`${op}: ${name} ${formatShape(x.shape)} has been disposed`);
}

/** Owned, floating, and of one type. */
export function checkFloat(backend: Checked, op: string, names: readonly string[], tensors: readonly Tensor[]): void {
  for (let i = 0; i < names.length; i++) checkOwned(backend, op, names[i], tensors[i]);
  for (let i = 0; i < names.length; i++) {
    if (tensors[i].dtype === 'i32') throw new DTypeError(`${op}: ${names[i]} is i32; expected a floating type`);
  }
  for (let i = 1; i < names.length; i++) checkSameDType(op, names[i], tensors[i], names[0], tensors[0]);
}

/** As `checkFloat`, and all of the first one's shape. */
export function checkElementwise(
  backend: Checked,
  op: string,
  names: readonly string[],
  tensors: readonly Tensor[],
): void {
  checkFloat(backend, op, names, tensors);
  const { shape } = tensors[0];
  for (let i = 1; i < names.length; i++) {
    if (!sameShape(tensors[i].shape, shape)) {
      throw new ShapeError(
        `${op}: ${names[i]} has shape ${formatShape(tensors[i].shape)}; expected that of ${names[0]}, ${formatShape(shape)}`,
      );
    }
  }
}

/**
 * What an owned i32 tensor holds. @throws ValueError where the device computed it: kernels read no index that core has not
 * seen
 */
export function knownIndices(op: string, name: string, x: Tensor): Int32Array {
  if (x.dtype !== 'i32') throw new DTypeError(`${op}: ${name} is ${x.dtype}; expected i32`);
  const { indices } = x.storage;
  if (indices !== null) return indices;
  throw new ValueError(
    `${op}: ${name} was computed on the device, so its values cannot be checked here; read them first: backend.tensor(await ${name}.data(), ${name}.shape)`,
  );
}

/** Owned i32 with all values in [0, vocabulary), or `ignore`. */
export function checkIds(
  backend: Checked,
  op: string,
  name: string,
  ids: Tensor,
  vocabulary: number,
  ignore?: number,
): void {
  checkOwned(backend, op, name, ids);
  const values = knownIndices(op, name, ids);
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
export function checkDType(backend: Checked, op: string, dtype: DType): void {
  if (!DTYPES.includes(dtype)) {
    throw new DTypeError(`${op}: dtype is ${describe(dtype)}; expected one of ${DTYPES.join(', ')}`);
  }
  if (!backend.dtypes.has(dtype)) {
    throw new UnsupportedError(
      `${op}: backend '${backend.name}' (${backend.device}) has no ${dtype}; it has ${[...backend.dtypes].join(', ')}`,
    );
  }
}

/** A tensor of exactly this shape. */
export function checkShapeIs(op: string, name: string, x: Tensor, expected: Shape): void {
  if (!sameShape(x.shape, expected)) {
    throw new ShapeError(`${op}: ${name} has shape ${formatShape(x.shape)}; expected ${formatShape(expected)}`);
  }
}

/** Four axes, named in `expected` for the message. */
export function checkFourAxes(op: string, name: string, shape: Shape, expected: string): void {
  if (shape.length !== 4) throw new ShapeError(`${op}: ${name} has shape ${formatShape(shape)}; expected ${expected}`);
}

/** Of the statistics type beside `operands`. */
export function checkStatistics(op: string, name: string, x: Tensor, operands: DType): void {
  const expected = statisticsDType(operands);
  if (x.dtype !== expected) {
    throw new DTypeError(`${op}: ${name} is ${x.dtype}; expected ${expected} beside ${operands} operands`);
  }
}

/** Shape [] in the statistics type beside `operands`. */
export function checkStatisticsScalar(op: string, name: string, x: Tensor, operands: DType): void {
  checkShapeIs(op, name, x, []);
  checkStatistics(op, name, x, operands);
}

/** `x` has the type of `first`. */
export function checkSameDType(op: string, name: string, x: Tensor, firstName: string, first: Tensor): void {
  if (x.dtype !== first.dtype) {
    throw new DTypeError(
      `${op}: ${name} is ${x.dtype} and ${firstName} is ${first.dtype}; expected one type; use cast`,
    );
  }
}
