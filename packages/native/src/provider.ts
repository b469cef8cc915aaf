import {
  type BackendProvider,
  BackendUnavailableError,
  checkOptions,
  type Kernels,
  ValueError,
} from '@lazy-attention/core';
import type { NativeAddon } from './addon.ts';
import { errorOf } from './errors.ts';
import { createNativeKernels } from './kernels.ts';
import { loadBinary } from './load.ts';
import { type AddonPlace, addonPlace, buildCommand } from './locate.ts';
import { MismatchError } from './ops.ts';
import { probeAddon } from './probe.ts';

type NativeOptions = Record<string, number | string | boolean>;

/** What makes a provider of a native backend. */
export interface NativeBackend {
  /** Short name: 'cpu'. */
  readonly name: string;
  /** Folder of the backend's package, which holds its package.json. */
  readonly directory: string;
  /** Name of that package. Default: '@lazy-attention/backend-<name>'. */
  readonly packageName?: string;
  /** File name of the addon: 'lazy_cpu.node'. */
  readonly file: string;
  /** How the addon is built from source. Default: `npm run build:native`, with CMake and a C++ compiler. */
  readonly build?: AddonPlace['build'];
  /** Options that `create` takes beside `memoryLimit`. */
  readonly options: readonly string[];
  /** Checks option values, adds what the environment sets, and gives what the C++ side is to see. */
  readonly resolveOptions: (options: Readonly<Record<string, unknown>>) => NativeOptions;
}

/** The `provider` of a native backend's package. */
export function nativeProvider(backend: NativeBackend): BackendProvider {
  const { name, options: optionNames, resolveOptions } = backend;
  // Not while the module loads: a bundle that never uses this backend must start.
  let known: AddonPlace | undefined;
  const find = (): AddonPlace => {
    known ??= addonPlace(backend);
    return known;
  };
  return {
    name,
    probe: async () => {
      try {
        return (await probeAddon(find())).result;
      } catch (error) {
        if (error instanceof BackendUnavailableError) {
          const { reason, fix } = error;
          return { available: false, device: '', reason, ...(fix === undefined ? {} : { fix }) };
        }
        return { available: false, device: '', reason: error instanceof Error ? error.message : String(error) };
      }
    },
    create: async (options) => {
      checkOptions(name, options, [...optionNames, 'memoryLimit']);
      const native = { ...resolveOptions(options), ...memoryLimit(name, options.memoryLimit) };
      const place = find();
      const { result, path } = await probeAddon(place);
      if (!result.available || path === null) throw new BackendUnavailableError(name, result.reason, result.fix);
      const addon = loadBinary(path) as NativeAddon;
      const context = addon.create(native, errorOf(name));
      try {
        return createNativeKernels(name, context, addon.ops) as Kernels;
      } catch (error) {
        await context.dispose();
        if (!(error instanceof MismatchError)) throw error;
        throw new BackendUnavailableError(name, `${path}: ${error.message}`, buildCommand(place));
      }
    },
  };
}

function memoryLimit(name: string, value: unknown): NativeOptions {
  if (value === undefined) return {};
  if (typeof value !== 'number' || !(value >= 1)) {
    throw new ValueError(`${name}: option memoryLimit is ${String(value)}; expected a positive number of bytes`);
  }
  // No limit; the binary counts in 64-bit integers, where Infinity would be 0.
  if (value > Number.MAX_SAFE_INTEGER) return {};
  return { memoryLimit: Math.floor(value) };
}
