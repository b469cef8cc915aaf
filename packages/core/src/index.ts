export { Backend, type MemoryInfo } from './backend.ts';
export * from './dtype.ts';
export * from './errors.ts';
export type * from './kernels.ts';
export type * from './ops.ts';
export { CANDIDATES, type Candidate } from './registry/candidates.ts';
export { type BackendReport, createBackend, probeBackends, registerBackend } from './registry/registry.ts';
export { checkOptions, elementCount, formatShape, type Shape } from './shape.ts';
export { Tensor } from './tensor.ts';
