import {
  Backend,
  bytesPerElement,
  type DType,
  elementCount,
  learnedGrads,
  type Shape,
  statisticsDType,
} from '@lazy-attention/core';

type Kernels = ConstructorParameters<typeof Backend>[0];
type KernelTensor = Parameters<Kernels['scale']>[0];

/** A piece of memory that is counted and not there. */
export interface Block {
  /** How much of it. */
  readonly bytes: number;
  /** As the kernel saw it, leading axes merged. */
  readonly shape: Shape;
  /** The kernel that made it. */
  readonly op: string;
  /** What was going on then. */
  readonly phase: string;
}

/** A block that was taken (1) or given back (-1). */
interface Event {
  readonly block: Block;
  readonly sign: 1 | -1;
}

/** What a counting backend is like. */
export interface CountingOptions {
  /** Element types of the backend that it stands for. */
  readonly dtypes: ReadonlySet<DType>;
  /** Bytes that attention keeps for its gradient, by row and query head. */
  readonly savedBytes: number;
}

/** A backend that computes nothing, and what it would have had alive. */
export interface Counting {
  /** Its tensors have shapes and no memory; none can be read. */
  readonly backend: Backend;
  /** Notes a phase on all that is made from now on. */
  enter(phase: string): void;
  /** What was alive when most bytes were. */
  atPeak(): { readonly bytes: number; readonly blocks: ReadonlySet<Block> };
}

/** A new one. */
export function counting(options: CountingOptions): Counting {
  const events: Event[] = [];
  let phase = '';
  const make = (op: string, shape: Shape, bytesPer: number): Block => {
    const block = { bytes: elementCount(shape) * bytesPer, shape, op, phase };
    events.push({ block, sign: 1 });
    return block;
  };
  const backend = new Backend(countingKernels(options, make, (block) => events.push({ block, sign: -1 })));
  return {
    backend,
    enter(next) {
      phase = next;
    },
    atPeak() {
      let bytes = 0;
      let peak = { bytes: 0, at: -1 };
      for (const [at, { block, sign }] of events.entries()) {
        bytes += sign * block.bytes;
        if (bytes > peak.bytes) peak = { bytes, at };
      }
      const blocks = new Set<Block>();
      for (const { block, sign } of events.slice(0, peak.at + 1)) {
        if (sign === 1) blocks.add(block);
        else blocks.delete(block);
      }
      return { bytes: peak.bytes, blocks };
    },
  };
}

/** Every kernel's results, by shape; the arguments are those of core's contract. */
function countingKernels(
  { dtypes, savedBytes }: CountingOptions,
  make: (op: string, shape: Shape, bytesPer: number) => Block,
  free: (block: Block) => void,
): Kernels {
  const of = (op: string, shape: Shape, dtype: DType) => make(op, shape, bytesPerElement(dtype));
  const like = (op: string, x: KernelTensor) => of(op, x.shape, x.dtype);
  const optional = (op: string, x: KernelTensor | null) => (x === null ? null : like(op, x));
  const statistic = (op: string, shape: Shape, x: KernelTensor) => of(op, shape, statisticsDType(x.dtype));
  return {
    name: 'counting',
    device: 'nothing',
    dtypes,
    upload: (_data, shape, dtype) => of('upload', shape, dtype),
    full: (shape, _value, dtype) => of('full', shape, dtype),
    read: () => Promise.reject(new Error('counting: there is nothing to read')),
    free: (buffer) => free(buffer as Block),
    freeSaved: (saved) => free(saved as Block),
    synchronize: async () => {},
    dispose: async () => {},
    cast: (x, dtype) => of('cast', x.shape, dtype),
    slice: (x, { outer, count, inner }) => of('slice', [outer, count, inner], x.dtype),
    copyInto: () => {},
    unary: (x) => like('unary', x),
    binary: (a, _b, fn, { shape }) => of(fn, shape, a.dtype),
    reduce: (_x, fn, { outer, inner }, dtype) => of(fn, [outer, inner], dtype),
    rearrange: (x, { shape }) => of('rearrange', shape, x.dtype),
    scale: (x) => like('scale', x),
    sumSquares: ([x]) => statistic('sumSquares', [], x),
    matmul: (a, _b, { batch, m, n }, accumulate) => accumulate?.buffer ?? of('matmul', [batch * m, n], a.dtype),
    rmsNorm: (x) => like('rmsNorm', x),
    rmsNormGrad: (_dy, x, weight) => ({ dx: like('rmsNormGrad', x), dweight: like('rmsNormGrad', weight) }),
    rope: (x) => like('rope', x),
    attention({ q, sizes: { batch, queryLength, heads } }, save) {
      const output = like('attention', q);
      return { output, saved: save ? make('attention', [batch, queryLength, heads], savedBytes) : null };
    },
    attentionGrad: (_dy, inputs) => ({
      dq: like('attentionGrad', inputs.q),
      dk: like('attentionGrad', inputs.k),
      dv: like('attentionGrad', inputs.v),
      ...learnedGrads((name) => optional('attentionGrad', inputs[name])),
    }),
    attentionWeights: ({ q, sizes: { batch, heads, queryLength, keyLength } }) =>
      statistic('attentionWeights', [batch, heads, queryLength, keyLength], q),
    elasticSoftmax: ({ scores }) => like('elasticSoftmax', scores),
    elasticSoftmaxGrad: (_dy, { scores, tau }) => ({
      dscores: like('elasticSoftmaxGrad', scores),
      dtau: optional('elasticSoftmaxGrad', tau),
    }),
    swiglu: (gate) => like('swiglu', gate),
    swigluGrad: (_dy, gate) => ({ dgate: like('swigluGrad', gate), dup: like('swigluGrad', gate) }),
    embedding: (weight, ids) => of('embedding', [elementCount(ids.shape), weight.shape[1]], weight.dtype),
    embeddingGrad: (dy, _ids, vocabulary) => of('embeddingGrad', [vocabulary, dy.shape[dy.shape.length - 1]], dy.dtype),
    crossEntropy: (logits, targets) => ({
      loss: statistic('crossEntropy', [], logits),
      lse: statistic('crossEntropy', targets.shape, logits),
    }),
    crossEntropyGrad: (_dy, logits) => like('crossEntropyGrad', logits),
    adamw: () => {},
  };
}
