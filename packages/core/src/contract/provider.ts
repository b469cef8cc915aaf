import type { Kernels } from './kernels.ts';

/** Answer of a backend that was asked whether it can run here. */
export interface ProbeResult {
  /** Whether `create` would work. */
  readonly available: boolean;
  /** What it would run on; '' when nothing was found. */
  readonly device: string;
  /** Why it can or cannot run, in a sentence. */
  readonly reason: string;
  /** The command or step that would make it work, where there is one. */
  readonly fix?: string;
  /** True for a GPU interface that runs on the CPU (llvmpipe, SwiftShader): `auto` ranks it below the native CPU. */
  readonly software?: boolean;
}

/**
 * What a backend package exports under the name `provider`. `probe` never throws. `create` throws
 * `BackendUnavailableError` when it cannot run and `ValueError` for an option that it does not know.
 */
export interface BackendProvider {
  /** As in `createBackend(name)`. */
  readonly name: string;
  /** Whether the backend would work here, and on what. Changes nothing. */
  probe(): Promise<ProbeResult>;
  /** False where there is plainly no hardware for it: 'auto' then starts no probe, which loads a driver. Left out: nobody knows. */
  hasHardware?(): boolean;
  /** The kernels; each call opens a device of its own. */
  create(options: Readonly<Record<string, unknown>>): Promise<Kernels>;
}
