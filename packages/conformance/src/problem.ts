import type { Backend, DType, FloatDType, Tensor } from '@lazy-attention/core';
import { elementCount, roundTo, statisticsDType } from '@lazy-attention/core';
import { named, normal, type Random } from './random.ts';

export type Shape = readonly number[];

/**
 * Host data of one tensor. Operands have the tested type, statistics (bias, tau, losses) f32 beside it, indices i32.
 * Values are already rounded to that type, so that the float64 oracle sees the very same numbers.
 */
export interface HostTensor {
  readonly role: 'operand' | 'statistics' | 'indices';
  readonly shape: Shape;
  readonly values: Float64Array | Int32Array;
}

export type Tensors = Readonly<Record<string, Tensor>>;

/** One computation that the tested backend and the oracle both do. */
export interface Problem {
  readonly inputs: Readonly<Record<string, HostTensor>>;
  /** Results by name. The one that `backward` differentiates is `y`. */
  forward(ops: Backend, x: Tensors): Tensors;
  /** The gradient of sum(dy * y) for each of these inputs, under the input's name. */
  backward?(ops: Backend, x: Tensors, dy: Tensor): Tensors;
  /** Gradient of y. Needed with `backward`. */
  readonly dy?: HostTensor;
  /**
   * Root mean square below which a result counts as this large, for results that cancel to zero or nearly: errors are
   * measured against the size of what was added up. 0 by default: then an expected zero must be exactly zero.
   */
  readonly floor?: number;
  /** Factor on the tolerance, where the problem is ill-conditioned by design; 0 asks for bitwise equality. */
  readonly loosen?: number;
  /** True where a backend gives results only for the types that it has, and the oracle for all. */
  readonly partial?: boolean;
  /** True where NaN is the right answer where the oracle has it. Without it NaN always fails. */
  readonly allowNaN?: boolean;
}

/** Makes host data for one problem, rounded to the tested type. */
export class Generator {
  readonly dtype: FloatDType;
  readonly random: Random;

  /** @param name of the stream of numbers that it takes */
  constructor(dtype: FloatDType, name: string, seed = 0) {
    this.dtype = dtype;
    this.random = named(name, seed);
  }

  /** Normal with this mean and deviation. */
  operand(shape: Shape, deviation = 1, mean = 0): HostTensor {
    return this.operandOf(shape, () => mean + deviation * normal(this.random));
  }

  operandOf(shape: Shape, value: (i: number) => number): HostTensor {
    return { role: 'operand', shape, values: this.#fill(shape, this.dtype, value) };
  }

  statistics(shape: Shape, deviation = 1, mean = 0): HostTensor {
    return this.statisticsOf(shape, () => mean + deviation * normal(this.random));
  }

  statisticsOf(shape: Shape, value: (i: number) => number): HostTensor {
    return { role: 'statistics', shape, values: this.#fill(shape, statisticsDType(this.dtype), value) };
  }

  indices(shape: Shape, value: (i: number) => number): HostTensor {
    return { role: 'indices', shape, values: Int32Array.from({ length: elementCount(shape) }, (_, i) => value(i)) };
  }

  #fill(shape: Shape, dtype: FloatDType, value: (i: number) => number): Float64Array {
    return Float64Array.from({ length: elementCount(shape) }, (_, i) => roundTo(dtype, value(i)));
  }
}

/** The element type that `host` has beside operands of `dtype`. */
export function dtypeOf(host: HostTensor, dtype: FloatDType): DType {
  if (host.role === 'indices') return 'i32';
  return host.role === 'operand' ? dtype : statisticsDType(dtype);
}

export function toTensor(ops: Backend, host: HostTensor, dtype: FloatDType): Tensor {
  return ops.tensor(host.values, host.shape, dtypeOf(host, dtype));
}

export function toTensors(ops: Backend, inputs: Problem['inputs'], dtype: FloatDType): Tensors {
  return Object.fromEntries(Object.entries(inputs).map(([name, host]) => [name, toTensor(ops, host, dtype)]));
}
