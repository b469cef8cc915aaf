import type { AttentionInputs } from '@lazy-attention/core';
import type { DeviceBuffer } from '../../device/buffers.ts';
import type { Runtime } from '../../device/runtime.ts';

type Optional = Partial<Pick<AttentionInputs<DeviceBuffer>, 'bias' | 'tau' | 'sink' | 'starts'>>;

/**
 * Inputs that may be absent, for kernels with OPTIONAL_PARAMS: something to bind for each, and the parameters that tell
 * which are there. `window` is that of the bias table.
 */
export function optionalInputs(rt: Runtime, { bias, tau, sink, starts }: Optional, window: number) {
  return {
    bias: { bias: bias?.buffer ?? rt.absent() },
    perHead: { tau: tau?.buffer ?? rt.absent(), sink: sink?.buffer ?? rt.absent() },
    starts: { starts: starts?.buffer ?? rt.absent() },
    params: { window: bias ? window : 0, hasTau: tau ? 1 : 0, hasSink: sink ? 1 : 0, hasStarts: starts ? 1 : 0 },
  };
}
