import type { Backend, Ops, Tensor } from '@lazy-attention/core';
import { addingGrad, type ValueAndGrad } from '../autodiff/value-and-grad.ts';
import { batchTensors } from '../batch.ts';
import { summedInBuckets } from '../distributed/buckets.ts';
import { oneProcess } from '../distributed/communicator.ts';
import type { LazyTransformerOptions } from '../model/config.ts';
import { type Batch, lazyTransformer } from '../model/transformer.ts';
import { adamW, adamWOver } from '../optim/adamw.ts';
import { partsOf } from '../optim/sharded.ts';
import { disposeParams, type Params } from '../params.ts';
import { type Block, type CountingOptions, counting } from './counting.ts';

/** How a step is made. */
export interface MemoryPlanOptions {
  /** Sequences per step. */
  readonly batch: number;
  /** Sequences on the device at a time; divides `batch`. Default `batch`. */
  readonly microBatch?: number | undefined;
  /** As in `LossOptions`. */
  readonly recompute?: boolean | undefined;
  /** As in `LossOptions`. */
  readonly lossRows?: number | undefined;
  /** Ranks that share each step and sum gradients by way of the host; default 1. `batch` is the share of one. */
  readonly ranks?: number | undefined;
  /** Whether the optimiser's state is cut over the ranks (`shardedAdamW`). */
  readonly shardOptimizer?: boolean | undefined;
  /** As in `AdamWConfig`. */
  readonly stateDType?: 'bf16' | undefined;
  /** Which parameters the optimiser moves; default all. */
  readonly trains?: ((name: string) => boolean) | undefined;
}

/** Bytes alive when most are, by kind; the kinds add up to `peakBytes`. */
export interface MemoryPlan {
  /** All of them. */
  readonly peakBytes: number;
  /** Parameters. */
  readonly weights: number;
  /** Of parameters. */
  readonly gradients: number;
  /** AdamW's m and v. */
  readonly optimizer: number;
  /** What the forward pass made and the backward pass reads, with the batch. */
  readonly activations: number;
  /** Logits and their gradients. */
  readonly logits: number;
  /** What the backward pass and the optimiser make and drop, recomputed layers among it. */
  readonly workspace: number;
  /** On the host, also where the tensors are not: what ranks sum gradients in; 0 for one process. */
  readonly sums: number;
}

/** What `memoryPlan` has to know of a backend. Runs one small attention on it. */
export function memoryTraits(backend: Backend): CountingOptions {
  const [rows, heads] = [16, 2];
  return backend.scope(() => {
    const q = backend.zeros([1, rows, heads, 8]);
    const before = backend.memory().bytes;
    const { output } = backend.attention(q, q, q);
    const kept = backend.memory().bytes - before - output.size * 4;
    return { dtypes: backend.dtypes, savedBytes: kept / (rows * heads) };
  });
}

/**
 * The live bytes of training steps at their peak, counted by running them on a backend that computes nothing, so
 * that whatever the model does is counted. What kernels take for the time of one launch is not in it, nor what MPI takes. Host memory for the batch's ids alone.
 */
export function memoryPlan(
  model: LazyTransformerOptions,
  options: MemoryPlanOptions,
  traits: CountingOptions,
): MemoryPlan {
  const { batch, microBatch = batch, recompute, lossRows, stateDType, ranks = 1, trains = () => true } = options;
  const { backend, enter, atPeak } = counting(traits);
  const transformer = lazyTransformer(model);
  const { vocabSize, context, hiddenSize } = transformer.config;
  enter('weights');
  const params: Params = Object.fromEntries(
    Object.entries(transformer.shapes).map(([name, shape]) => [name, backend.zeros(shape)]),
  );
  const trained = Object.fromEntries(Object.entries(params).filter(([name]) => trains(name)));
  enter('optimizer');
  const shards = options.shardOptimizer === true ? ranks : 1;
  const update =
    shards === 1 ? wholeUpdate(backend, trained, stateDType) : partUpdate(backend, trained, stateDType, shards);
  const pieces = countedPieces(backend, trained);
  const loss = (ops: Ops, some: Params, data: Batch) => {
    const value = transformer.loss(ops, { ...params, ...some }, data, { recompute, lossRows });
    enter('backward');
    return value;
  };
  const ids = new Int32Array(microBatch * context);
  let sum: ValueAndGrad<Params> | null = null;
  // From the second piece on there are gradients to add to.
  const last = Math.min(2, batch / microBatch) - 1;
  for (let piece = 0; piece <= last; piece++) {
    enter('forward');
    const { tokens, targets, starts } = batchTensors(backend, {
      tokens: ids,
      targets: ids,
      starts: ids,
      batch: microBatch,
      length: context,
    });
    sum = addingGrad(backend, loss, piece === last ? pieces.add : undefined)(trained, sum, {
      tokens,
      targets,
      starts,
      count: batch * context,
    });
    for (const tensor of [tokens, targets, starts]) tensor?.dispose();
  }
  const { value, grads } = sum as ValueAndGrad<Params>;
  const gradients = new Set<object>(Object.values(grads).map((x) => backend.bufferOf(x)));
  enter('backward');
  update(grads);
  disposeParams({ ...grads, value });
  const isLogits = ({ op, shape }: Block) =>
    (op === 'matmul' || op === 'crossEntropyGrad') && shape.at(-1) === vocabSize && vocabSize !== hiddenSize;
  const kindOf = (block: Block) => {
    if (gradients.has(block)) return 'gradients';
    if (block.phase === 'weights' || block.phase === 'optimizer') return block.phase;
    if (isLogits(block)) return 'logits';
    return block.phase === 'forward' ? 'activations' : 'workspace';
  };
  const { bytes, blocks } = atPeak();
  const kinds = { weights: 0, gradients: 0, optimizer: 0, activations: 0, logits: 0, workspace: 0 };
  for (const block of blocks) kinds[kindOf(block)] += block.bytes;
  const sums = ranks === 1 ? 0 : pieces.bytes() + (shards === 1 ? 0 : Math.ceil(bytesOf(trained) / ranks));
  return { peakBytes: bytes + sums, ...kinds, sums };
}

function bytesOf(tensors: Params): number {
  return Object.values(tensors).reduce((total, { size }) => total + 4 * size, 0);
}

/** The host's arrays for the pieces that gradients are summed in: one for each, and one for what the others send of the largest. */
function countedPieces(backend: Backend, trained: Params) {
  const lengths: number[] = [];
  const allReduce = async (_: Backend, tensors: readonly Tensor[]) =>
    void lengths.push(tensors.reduce((total, { size }) => total + size, 0));
  const { add, finish } = summedInBuckets(backend, { ...oneProcess(), allReduce }, bytesOf(trained));
  return {
    add,
    bytes(): number {
      finish().catch(() => {}); // what is left is sent at once, and nothing can fail
      return 4 * (lengths.reduce((total, length) => total + length, 0) + Math.max(...lengths));
    },
  };
}

/** What one process updates. */
function wholeUpdate(backend: Backend, trained: Params, stateDType: MemoryPlanOptions['stateDType']) {
  const optimizer = adamW(backend, trained, { stateDType });
  return (grads: Params) => optimizer.step(grads, 1).gradNormSquared.dispose();
}

/** What the first of several ranks updates. */
function partUpdate(backend: Backend, trained: Params, stateDType: MemoryPlanOptions['stateDType'], shards: number) {
  const own = (tensors: Params) => partsOf(backend, tensors, trained, 0, shards);
  const parts = own(trained);
  const optimizer = adamWOver(backend, parts, trained, { stateDType });
  disposeParams(parts);
  return (grads: Params) => {
    const [mine, slopes, norm] = [own(trained), own(grads), backend.sumSquares(Object.values(grads))];
    optimizer.update(mine, slopes, norm, 1);
    disposeParams({ ...mine });
    disposeParams({ ...slopes, norm });
  };
}
