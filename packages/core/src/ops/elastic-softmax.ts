import { checkFloat, checkFourAxes, checkOwned, checkShapeIs } from '../checks.ts';
import type { ElasticSoftmaxInputs } from '../contract/attention.ts';
import { statisticsDType } from '../dtype.ts';
import { ShapeError } from '../errors.ts';
import { kernelTensor, optionalTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Tensor } from '../lifetimes/tensor.ts';
import { checkOptions, formatShape } from '../shape.ts';
import { checkPerHead, checkStarts } from './attention.ts';

/** As in `AttentionOptions`. */
export interface ElasticSoftmaxOptions {
  /** [H], statistics type. Left out: plain softmax. */
  readonly tau?: Tensor | undefined;
  /** [B, L] i32: first key that row r attends. Default 0. */
  readonly starts?: Tensor | undefined;
}

/** Elastic-Softmax by itself. */
export interface ElasticSoftmaxOps {
  /** The dense w of given scores [B, H, L, S], spec §Forward; row r attends keys starts..r + S - L. */
  elasticSoftmax(scores: Tensor, options?: ElasticSoftmaxOptions): Tensor;
}

/** The gradient of `ElasticSoftmaxOps`. */
export interface ElasticSoftmaxGradOps {
  /** dscores like scores, 0 where a key is not attended; dtau is there when tau was. */
  elasticSoftmaxGrad(
    dWeights: Tensor,
    scores: Tensor,
    options?: ElasticSoftmaxOptions,
  ): { dscores: Tensor; dtau: Tensor | undefined };
}

/** As `ElasticSoftmaxOps.elasticSoftmax`. */
export function elasticSoftmax(store: TensorStore, scores: Tensor, options: ElasticSoftmaxOptions = {}): Tensor {
  checkOptions('elasticSoftmax', options, ['tau', 'starts']);
  checkFloat(store, 'elasticSoftmax', ['scores'], [scores]);
  const inputs = elasticInputs(store, 'elasticSoftmax', scores, options);
  return store.wrap(store.kernels.elasticSoftmax(inputs), scores.shape, scores.dtype);
}

/** As `ElasticSoftmaxGradOps.elasticSoftmaxGrad`. */
export function elasticSoftmaxGrad(
  store: TensorStore,
  dWeights: Tensor,
  scores: Tensor,
  options: ElasticSoftmaxOptions = {},
): { dscores: Tensor; dtau: Tensor | undefined } {
  checkOptions('elasticSoftmaxGrad', options, ['tau', 'starts']);
  checkFloat(store, 'elasticSoftmaxGrad', ['dWeights', 'scores'], [dWeights, scores]);
  const inputs = elasticInputs(store, 'elasticSoftmaxGrad', scores, options);
  checkShapeIs('elasticSoftmaxGrad', 'dWeights', dWeights, scores.shape);
  const { dscores, dtau } = store.kernels.elasticSoftmaxGrad(kernelTensor(dWeights), inputs);
  return {
    dscores: store.wrap(dscores, scores.shape, scores.dtype),
    dtau: dtau === null ? undefined : store.wrap(dtau, [scores.shape[1]], statisticsDType(scores.dtype)),
  };
}

function elasticInputs(
  store: TensorStore,
  op: string,
  scores: Tensor,
  options: ElasticSoftmaxOptions,
): ElasticSoftmaxInputs {
  const { tau, starts } = options;
  if (tau !== undefined) checkOwned(store, op, 'tau', tau);
  if (starts !== undefined) checkOwned(store, op, 'starts', starts);
  checkFourAxes(op, 'scores', scores.shape, '[B, H, L, S]');
  const [batch, heads, queryLength, keyLength] = scores.shape;
  if (queryLength > keyLength) {
    throw new ShapeError(
      `${op}: scores has shape ${formatShape(scores.shape)}; queries (${queryLength}) are the last of the keys, so at most ${keyLength}`,
    );
  }
  if (tau !== undefined) checkPerHead(op, 'tau', tau, heads, scores);
  if (starts !== undefined) checkStarts(op, starts, batch, queryLength, keyLength);
  return { scores: kernelTensor(scores), tau: optionalTensor(tau), starts: optionalTensor(starts) };
}
