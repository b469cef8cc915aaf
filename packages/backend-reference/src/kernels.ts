import { DTYPES, elementCount, type Kernels, PACKED_DTYPES } from '@lazy-attention/core';
import { adamw } from './adamw.ts';
import { attention, attentionGrad, attentionWeights } from './attention.ts';
import { crossEntropy, crossEntropyGrad } from './cross-entropy.ts';
import { decoder } from './decoder.ts';
import { elasticSoftmax, elasticSoftmaxGrad } from './elastic-softmax.ts';
import { scale, sumSquares } from './elementwise.ts';
import { embedding, embeddingGrad } from './embedding.ts';
import { matmul } from './matmul.ts';
import { binary, rearrange, reduce, unary } from './primitives.ts';
import { rmsNorm, rmsNormGrad } from './rms-norm.ts';
import { rope } from './rope.ts';
import { type Buffer, cast, copyInto, full, read, slice, upload } from './storage.ts';
import { swiglu, swigluGrad } from './swiglu.ts';

/** Every op on the host, in float64. A call has done its work when it returns. */
export function createKernels(): Kernels<Buffer> {
  return {
    name: 'reference',
    device: 'JavaScript, float64, one thread',
    dtypes: new Set(DTYPES),

    packedDTypes: new Set(PACKED_DTYPES),
    upload,
    full: (shape, value, dtype) => full(elementCount(shape), value, dtype),
    read: async (x) => read(x),
    // Memory is the garbage collector's affair.
    free: () => {},
    freeSaved: () => {},
    synchronize: async () => {},
    dispose: async () => {},

    cast,
    slice,
    copyInto,
    unary,
    binary,
    reduce,
    rearrange,
    scale,
    sumSquares,
    matmul,
    rmsNorm,
    rmsNormGrad,
    rope,
    attention,
    attentionGrad,
    attentionWeights,
    elasticSoftmax,
    elasticSoftmaxGrad,
    swiglu,
    swigluGrad,
    embedding,
    embeddingGrad,
    crossEntropy,
    crossEntropyGrad,
    adamw,
    decoder,
  };
}
