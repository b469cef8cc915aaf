import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { BackendUnavailableError, ValueError } from '@lazy-attention/core';
import type * as Ort from 'onnxruntime-node';
import { OnnxFileError } from './errors.ts';

export type OnnxRuntime = typeof Ort;

/** Execution providers of onnxruntime-node that this package knows how to use. */
export const PROVIDERS = ['cpu', 'webgpu', 'cuda'] as const;
/** Where onnxruntime computes. */
export type OnnxProvider = (typeof PROVIDERS)[number];

const INSTALL = 'ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node@1.30';

export function checkProvider(provider: unknown): asserts provider is OnnxProvider {
  if (!PROVIDERS.includes(provider as OnnxProvider)) {
    throw new ValueError(`OnnxModel: provider is ${JSON.stringify(provider)}; expected ${PROVIDERS.join(', ')}`);
  }
}

/**
 * The optional peer onnxruntime-node, as seen from this package and then from the working directory.
 * @throws BackendUnavailableError with the command that installs it
 */
export async function loadRuntime(): Promise<OnnxRuntime> {
  for (const from of [import.meta.url, `${process.cwd()}/package.json`]) {
    let path: string;
    try {
      path = createRequire(from).resolve('onnxruntime-node');
    } catch {
      continue;
    }
    try {
      return (await import(pathToFileURL(path).href)) as OnnxRuntime;
    } catch (error) {
      throw unavailable(`onnxruntime-node cannot be loaded: ${messageOf(error)}`, INSTALL, error);
    }
  }
  throw unavailable('the package onnxruntime-node is not installed', INSTALL);
}

/**
 * A session on exactly this provider. Shape arithmetic runs on the CPU with any of them.
 * @throws BackendUnavailableError when the runtime has no such provider or it finds no device; OnnxFileError when it
 *   refuses the file
 */
export async function openSession(
  ort: OnnxRuntime,
  file: string,
  provider: OnnxProvider,
  options: Ort.InferenceSession.SessionOptions,
): Promise<Ort.InferenceSession> {
  const supported = ort.listSupportedBackends().map(({ name }) => name);
  if (!supported.includes(provider)) {
    throw unavailable(
      `onnxruntime-node here has no provider '${provider}'; it has ${supported.join(', ')}`,
      provider === 'cuda'
        ? 'npm install onnxruntime-node without ONNXRUNTIME_NODE_INSTALL=skip, on Linux x64'
        : INSTALL,
    );
  }
  try {
    return await ort.InferenceSession.create(file, { logSeverityLevel: 4, ...options, executionProviders: [provider] });
  } catch (error) {
    const message = messageOf(error);
    // The cpu provider is always there: what fails is the file.
    if (provider === 'cpu') {
      throw new OnnxFileError(file, `the runtime refuses it: ${message}`, { cause: error });
    }
    throw unavailable(`provider '${provider}' does not start: ${message}`, PROVIDER_FIX[provider], error);
  }
}

const PROVIDER_FIX: Readonly<Record<OnnxProvider, string | undefined>> = {
  cpu: undefined,
  webgpu:
    'install a Vulkan driver; without a GPU, Mesa 25 or newer with VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json',
  cuda: 'install CUDA 12 or 13 and cuDNN 9, and onnxruntime-node without ONNXRUNTIME_NODE_INSTALL=skip',
};

function messageOf(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).split('\n')[0];
  // The runtime puts the signature of the failing function first.
  return message.replace(/^.*\[ONNXRuntimeError\] : \d+ : \w+ : /, '');
}

function unavailable(reason: string, fix?: string, cause?: unknown): BackendUnavailableError {
  return new BackendUnavailableError('onnx', reason, fix, { cause });
}
