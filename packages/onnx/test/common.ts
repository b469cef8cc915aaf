import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Backend, createBackend, type Tensor } from '@lazy-attention/core';
import { type LazyTransformerOptions, lazyTransformer, type Params, preset } from '@lazy-attention/nn';
import { afterAll, beforeAll } from 'vitest';

/** Mesa's software Vulkan, where the machine has no GPU. */
const SOFTWARE_VULKAN = '/usr/share/vulkan/icd.d/lvp_icd.json';
if (process.env.VK_DRIVER_FILES === undefined && existsSync(SOFTWARE_VULKAN)) {
  process.env.VK_DRIVER_FILES = SOFTWARE_VULKAN;
}

/** Why the webgpu provider cannot be tried here; null when it can. */
export const noWebGpu = process.env.VK_DRIVER_FILES === undefined ? `no Vulkan driver (no ${SOFTWARE_VULKAN})` : null;

/** A folder and the reference backend for the tests of a file. */
export function setUp(): { readonly backend: Backend; path(name: string): string } {
  let folder = '';
  let backend: Backend | undefined;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lazy-onnx-'));
    backend = await createBackend('reference');
  });
  afterAll(async () => {
    await backend?.dispose();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    get backend() {
      if (backend === undefined) throw new Error('before beforeAll');
      return backend;
    },
    path: (name) => join(folder, name),
  };
}

/** Small models that between them have every kind of attention, grouped heads and tied embeddings. */
export const CONFIGS: Readonly<Record<string, LazyTransformerOptions>> = {
  lazy: preset('pico'),
  grouped: preset('pico', { numHeads: 4, numKvHeads: 2, tieEmbeddings: true, window: 7, ropeBase: 500 }),
  'elastic-only': preset('pico', { attention: 'elastic-only', numLayers: 1 }),
  softmax: preset('pico', { attention: 'softmax', numLayers: 1 }),
  llama: preset('pico', {
    attention: 'softmax',
    numHeads: 4,
    numKvHeads: 2,
    attentionBias: 'qkvo',
    mlpBias: true,
    qkNorm: true,
    ropeScaling: { type: 'yarn', factor: 4, originalContext: 16 },
  }),
  sliding: preset('pico', {
    numLayers: 3,
    attentionBias: 'qkv',
    slidingWindow: 5,
    fullAttentionLayers: [1],
    noRopeLayers: [2],
    ropeScaling: { type: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 64 },
  }),
  alibi: preset('pico', { attention: 'alibi', numLayers: 1, numHeads: 4 }),
};

/** Parameters as after training: bias and tau away from their initial values, weights large enough to matter. */
export async function trainedParams(backend: Backend, options: LazyTransformerOptions): Promise<Params> {
  const params = lazyTransformer(options).init(backend, 7);
  for (const [name, tensor] of Object.entries(params)) {
    const values = await tensor.data();
    const small = /attn\.bias$|attn\.tau$/.test(name);
    overwrite(
      backend,
      tensor,
      Float32Array.from(values, (value, i) => (small ? value + 0.4 * Math.sin(i * 7 + 1) : value * 4)),
    );
  }
  return params;
}

function overwrite(backend: Backend, target: Tensor, values: Float32Array): void {
  const source = backend.tensor(values, target.shape);
  backend.copyInto(target, source, 0, 0);
  source.dispose();
}

/** Tokens [batch, length], and starts with padding on the left of the second row and two documents in the third. */
export function inputs(batch: number, length: number): { tokens: Int32Array; starts: Int32Array } {
  const tokens = Int32Array.from({ length: batch * length }, (_, i) => (i * 37 + (i % 5)) % 256);
  const half = Math.floor(length / 2);
  const starts = Int32Array.from({ length: batch * length }, (_, i) => {
    const [row, position] = [Math.floor(i / length), i % length];
    if (row === 1) return Math.min(3, position);
    return row === 2 && position >= half ? half : 0;
  });
  return { tokens, starts };
}

/** Columns from..to - 1 of rows of `length`. */
export function columns(values: Int32Array, length: number, from: number, to: number): Int32Array {
  return values.filter((_, i) => i % length >= from && i % length < to);
}

export function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(actual[i] - expected[i]));
  return largest;
}
