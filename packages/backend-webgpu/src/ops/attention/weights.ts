import type { Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../../device/buffers.ts';
import type { Runtime } from '../../device/runtime.ts';
import { denseScores, elasticSoftmax, elasticSoftmaxGrad } from '../../wgsl/attention-weights.ts';
import { headSum } from '../../wgsl/sums.ts';
import { allocate, allocateStatistics, elementGrid, linearGrid, scalarOf, withScratch } from '../shared.ts';
import { withOptionalInputs } from './inputs.ts';

type WeightKernels = Pick<Kernels<DeviceBuffer>, 'attentionWeights' | 'elasticSoftmax' | 'elasticSoftmaxGrad'>;

/** Attention whose scores are a tensor: for looking at weights, and for attention that is composed. */
export function weightKernels(rt: Runtime): WeightKernels {
  return {
    attentionWeights(inputs) {
      const { sizes, scale, q, k } = inputs;
      const { batch, heads, queryLength, keyLength, keyCapacity, kvHeads, headDim } = sizes;
      const rows = batch * heads * queryLength;
      const pairs = rows * keyLength;
      const weights = allocateStatistics(rt, [pairs], q.dtype);
      withOptionalInputs(rt, inputs, sizes.window, ({ bias, perHead, starts, params: optional }) =>
        withScratch(rt, [pairs], (scores) => {
          rt.run(
            denseScores,
            { type: scalarOf(q.dtype) },
            {
              buffers: { q: q.buffer, k: k.buffer, scores, ...bias },
              params: { pairs, queryLength, keyLength, keyCapacity, heads, kvHeads, headDim, ...optional, scale },
              grid: elementGrid(pairs),
            },
          );
          rt.run(
            elasticSoftmax,
            { type: 'f32' },
            {
              buffers: { scores, weights, ...perHead, ...starts },
              params: { rows, width: keyLength, queryLength, heads, ...optional },
              grid: linearGrid(rows),
            },
          );
        }),
      );
      return weights;
    },

    elasticSoftmax({ scores, ...inputs }) {
      const [batch, heads, queryLength, width] = scores.shape;
      const weights = allocate(rt, scores.shape, scores.dtype);
      const rows = batch * heads * queryLength;
      withOptionalInputs(rt, inputs, 0, ({ perHead, starts, params }) =>
        rt.run(
          elasticSoftmax,
          { type: scalarOf(scores.dtype) },
          {
            buffers: { scores: scores.buffer, weights, ...perHead, ...starts },
            params: { rows, width, queryLength, heads, ...params },
            grid: linearGrid(rows),
          },
        ),
      );
      return weights;
    },

    elasticSoftmaxGrad(dWeights, { scores, ...inputs }) {
      const [batch, heads, queryLength, width] = scores.shape;
      const dscores = allocate(rt, scores.shape, scores.dtype);
      const rows = batch * heads * queryLength;
      const dtau = inputs.tau === null ? null : rt.acquire(heads * 4);
      withScratch(rt, [rows], (tauTerms) => {
        withOptionalInputs(rt, inputs, 0, ({ perHead, starts, params }) =>
          rt.run(
            elasticSoftmaxGrad,
            { type: scalarOf(scores.dtype) },
            {
              buffers: { dWeights: dWeights.buffer, scores: scores.buffer, dscores, tauTerms, ...perHead, ...starts },
              params: { rows, width, queryLength, heads, ...params },
              grid: linearGrid(rows),
            },
          ),
        );
        if (dtau !== null) {
          const params = { first: 0, step: 1, batch, heads, length: queryLength };
          rt.run(headSum, {}, { buffers: { terms: tauTerms, result: dtau }, params, grid: [heads] });
        }
      });
      return { dscores, dtau };
    },
  };
}
