import type { DType } from '../dtype.ts';

/** A tensor as a kernel sees it: dense and row-major. */
export interface KernelTensor<B extends object = object> {
  /** The backend's handle of the memory. */
  readonly buffer: B;
  /** Sizes, the last axis fastest; frozen. */
  readonly shape: readonly number[];
  /** Type of the elements. */
  readonly dtype: DType;
}
