export type { ErrorOf, NativeAddon, NativeContext, NativeField, NativeMemory, NativeOp } from './addon.ts';
export { currentTarget, inspectBinary, type Target, targetName } from './binary.ts';
export type { NativeBuffer } from './buffers.ts';
export { errorOf } from './errors.ts';
export { createNativeKernels, type NativeKernels, type NativeSaved } from './kernels.ts';
export { type AddonPlace, addonPlace, type Located, locateAddon } from './locate.ts';
export { MismatchError } from './ops.ts';
export { type AddonProbe, probeAddon } from './probe.ts';
export { type NativeBackend, nativeProvider } from './provider.ts';
