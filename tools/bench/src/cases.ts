import { flopsPerToken, type LazyTransformerOptions, parameterCount, preset } from '@lazy-attention/nn';

export interface MatmulCase {
  readonly kind: 'matmul';
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

export interface AttentionCase {
  readonly kind: 'attention';
  readonly batch: number;
  readonly heads: number;
  readonly length: number;
  readonly headDim: number;
  readonly window: number;
  /** Tokens that each row attends for practical purposes: the bias is -100 from that distance on. Null: the bias is 0. */
  readonly local: number | null;
  readonly backward: boolean;
}

export interface TrainCase {
  readonly kind: 'train';
  readonly model: LazyTransformerOptions;
  readonly batch: number;
  readonly learningRate: number;
}

export interface DecodeCase {
  readonly kind: 'decode';
  readonly model: LazyTransformerOptions;
  /** Tokens in the cache before the first one that is timed. */
  readonly prompt: number;
  readonly tokens: number;
}

export type Case = MatmulCase | AttentionCase | TrainCase | DecodeCase;
export type Kind = Case['kind'];
export const KINDS: readonly Kind[] = ['matmul', 'attention', 'train', 'decode'];

export function titleOf(task: Case): string {
  switch (task.kind) {
    case 'matmul': {
      const { m, n, k, transposeA, transposeB } = task;
      return `matmul ${m}x${n}x${k} ${transposeA ? 't' : 'n'}${transposeB ? 't' : 'n'}`;
    }
    case 'attention': {
      const { batch, heads, length, headDim, local, backward } = task;
      const kind = local === null ? '' : `, local heads of ${local}`;
      return `attention (${batch}, ${heads}, ${length}, ${headDim})${kind} ${backward ? 'forward+backward' : 'forward'}`;
    }
    case 'train': {
      const { numLayers, hiddenSize, numHeads, context } = task.model;
      return `train ${numLayers} layers, ${hiddenSize} wide, ${numHeads} heads, context ${context}, batch ${task.batch}`;
    }
    case 'decode': {
      const { numLayers, hiddenSize } = task.model;
      return `decode ${numLayers} layers, ${hiddenSize} wide, after ${task.prompt} tokens`;
    }
  }
}

/**
 * Useful operations of one run (of one token for decode). Attention counts the attended pairs alone, two products
 * forward and twice that backward; what an implementation recomputes is its own affair.
 */
export function flopsOf(task: Case): number {
  switch (task.kind) {
    case 'matmul':
      return 2 * task.m * task.n * task.k;
    case 'attention': {
      const pairs = (task.batch * task.heads * task.length * (task.length + 1)) / 2;
      return 4 * pairs * task.headDim * (task.backward ? 3 : 1);
    }
    case 'train':
      return flopsPerToken(task.model) * task.batch * task.model.context;
    case 'decode':
      return 2 * parameterCount(task.model);
  }
}

/** Tokens that one run stands for; 0 where there are none. */
export function tokensOf(task: Case): number {
  if (task.kind === 'train') return task.batch * task.model.context;
  return task.kind === 'decode' ? 1 : 0;
}

const square = (transposeA: boolean, transposeB: boolean): MatmulCase => ({
  kind: 'matmul',
  m: 1024,
  n: 1024,
  k: 1024,
  transposeA,
  transposeB,
});

const attention = (batch: number, heads: number, length: number, headDim: number): AttentionCase[] =>
  [false, true].map((backward) => ({
    kind: 'attention',
    batch,
    heads,
    length,
    headDim,
    window: 512,
    local: null,
    backward,
  }));

/** Heads whose far weights are all zero: what leaving out inactive tiles gains. */
const localAttention = (length: number, local: number): AttentionCase[] =>
  attention(1, 8, length, 64).map((task) => ({ ...task, window: length, local }));

/** What `npm run bench` measures on a backend; on WebGPU what a software adapter does in seconds. */
export function allCases(backend: string): Case[] {
  const twoLayers = { vocabSize: 256, hiddenSize: 128, numLayers: 2, numHeads: 4, context: 128 };
  const small: TrainCase = { kind: 'train', model: twoLayers, batch: 8, learningRate: 1e-4 };
  if (backend === 'webgpu') {
    return [square(false, false), square(false, true), square(true, false), ...attention(1, 4, 1024, 64), small];
  }
  return [
    square(false, false),
    square(false, true),
    square(true, false),
    { kind: 'matmul', m: 4096, n: 384, k: 128, transposeA: false, transposeB: true },
    { kind: 'matmul', m: 384, n: 128, k: 4096, transposeA: true, transposeB: false },
    ...attention(1, 8, 1024, 64),
    ...attention(1, 8, 2048, 64),
    ...localAttention(2048, 64),
    ...attention(16, 4, 256, 32),
    { kind: 'train', model: preset('nano'), batch: 16, learningRate: 1e-4 },
    small,
    { kind: 'decode', model: preset('small'), prompt: 256, tokens: 32 },
  ];
}
