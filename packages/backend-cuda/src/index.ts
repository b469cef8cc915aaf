import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BackendProvider, ValueError } from '@lazy-attention/core';
import { currentTarget, nativeProvider, targetName } from '@lazy-attention/native';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));

type Options = Readonly<Record<string, unknown>>;

const hardware = nativeProvider({
  name: 'cuda',
  directory,
  file: 'lazy_cuda.node',
  build: { script: 'build:cuda', needs: 'the CUDA toolkit 13.0 or later, CMake 3.18 and a C++17 compiler' },
  options: ['device', 'cublas', 'path'],
  resolveOptions: (options) => ({
    device: deviceIndex(chosenDevice(options)),
    cublas: choice('cublas', 'LAZY_ATTENTION_CUBLAS', options.cublas, ['auto', 'off', 'required']),
    path: attentionPath(options),
  }),
});

/** The same kernels on the host. Its binary lies beside the other's, for one package may hold both. */
const emulated = nativeProvider({
  name: 'cuda_emulated',
  directory,
  packageName: '@lazy-attention/backend-cuda',
  file: `../${targetName(currentTarget())}-emulated/lazy_cuda_emulated.node`,
  build: { script: 'build:emulated', needs: 'CMake 3.18 and a C++17 compiler' },
  options: ['path'],
  resolveOptions: (options) => ({ path: attentionPath(options) }),
});

/**
 * The CUDA backend, as `createBackend('cuda', options)` finds it. NVIDIA GPUs from compute capability 8.0.
 *
 * Options:
 * - `device` (LAZY_ATTENTION_CUDA_DEVICE): index of the GPU, default 0; or 'emulated': the GPU's kernels run on the host,
 *   thread by thread, with every access to shared memory checked. For tests: about a million times slower.
 * - `cublas` (LAZY_ATTENTION_CUBLAS): 'auto' (cuBLASLt for matrix products; what it fails to compute, or all where it is not found,
 *   by kernels of our own, and a warning says so once), 'off', or 'required' (such a failure is a `BackendUnavailableError`,
 *   an `UnsupportedError` in a product). LAZY_ATTENTION_CUBLASLT names the library.
 * - `path` (LAZY_ATTENTION_CUDA_PATH): which kernels attention in bf16 and f16 takes: 'mma' (default; every GPU) or 'hopper' (compute
 *   capability 9.0 alone; what it does not take goes on as in 'mma': forward above head size 128, in training with tau above 64, with bias
 *   windows above 7,808; backward above head size 64). `Backend.launches` counts which ran:
 *   'attentionGrad hopper' or 'attentionGrad mma', and so on.
 * - `memoryLimit`: bytes that tensors and scratch may take; more is an `OutOfMemoryError`.
 */
export const provider: BackendProvider = {
  name: 'cuda',
  probe: () => (chosenDevice({}) === 'emulated' ? emulated.probe() : hardware.probe()),
  create: (options) => {
    if (chosenDevice(options) !== 'emulated') return hardware.create(options);
    const { device: _device, ...rest } = options;
    return emulated.create(rest);
  },
};

function fromEnvironment(name: string): string | undefined {
  const value = process.env[name];
  return value === '' ? undefined : value;
}

function chosenDevice(options: Options): unknown {
  return options.device ?? fromEnvironment('LAZY_ATTENTION_CUDA_DEVICE') ?? 0;
}

function deviceIndex(value: unknown): number {
  const index = typeof value === 'string' ? Number(value) : value;
  if (typeof index !== 'number' || !Number.isInteger(index) || index < 0) {
    throw new ValueError(
      `cuda: device is ${String(value)}; expected the index of a GPU, 0 or more, or 'emulated' (option device, LAZY_ATTENTION_CUDA_DEVICE)`,
    );
  }
  return index;
}

function attentionPath(options: Options): string {
  return choice('path', 'LAZY_ATTENTION_CUDA_PATH', options.path, ['mma', 'hopper']);
}

/** One of `allowed`, the first by default. */
function choice(option: string, variable: string, value: unknown, allowed: readonly [string, ...string[]]): string {
  const wanted = value ?? fromEnvironment(variable) ?? allowed[0];
  if (typeof wanted !== 'string' || !allowed.includes(wanted)) {
    const expected = `${allowed.slice(0, -1).join(', ')} or ${allowed.at(-1)}`;
    throw new ValueError(`cuda: ${option} is ${String(wanted)}; expected ${expected} (option ${option}, ${variable})`);
  }
  return wanted;
}
