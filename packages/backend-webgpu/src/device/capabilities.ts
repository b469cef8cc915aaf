import type { DeviceTraits } from '../wgsl/module.ts';

/** What the device has that decides which kernels run, and their text. */
export interface Capabilities extends DeviceTraits {
  readonly f16: boolean;
}
