import {
  checkFloat,
  checkIds,
  checkOwned,
  checkSameDType,
  checkShapeIs,
  checkStatisticsScalar,
  knownIndices,
} from '../checks.ts';
import type { CrossEntropyProblem } from '../contract/kernels.ts';
import { statisticsDType } from '../dtype.ts';
import { ShapeError, ValueError } from '../errors.ts';
import { kernelTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Tensor } from '../lifetimes/tensor.ts';
import { checkInteger, checkOptions } from '../shape.ts';
import { flat, rows } from './rows.ts';

/** Of `crossEntropy`. */
export interface CrossEntropyOptions {
  /** Targets of this value do not count. Default -100. */
  readonly ignoreIndex?: number;
  /**
   * What the sum is divided by, instead of by how many of these targets count: that of a whole batch of which these are a
   * part, so that the parts' losses and gradients add up to the whole's. Then it may be that none of them counts.
   */
  readonly count?: number | undefined;
}

/** What `crossEntropy` returns. */
export interface CrossEntropyResult {
  /** The mean, shape [], statistics type. */
  readonly loss: Tensor;
  /** log sum exp of each row, for `crossEntropyGrad`. */
  readonly lse: Tensor;
}

/** Losses. */
export interface LossOps {
  /**
   * Mean over the targets that are not `ignoreIndex` of -log softmax(logits)[target], in nats; shape [], statistics
   * type. logits [..., V]; targets i32 with the leading shape, in [0, V) or ignoreIndex; at least one counts.
   */
  crossEntropy(logits: Tensor, targets: Tensor, options?: CrossEntropyOptions): CrossEntropyResult;
}

/** Gradients of `LossOps`. */
export interface LossGradOps {
  /** Like logits. dLoss has shape []; `lse` is what `crossEntropy` returned. */
  crossEntropyGrad(dLoss: Tensor, logits: Tensor, targets: Tensor, lse: Tensor, options?: CrossEntropyOptions): Tensor;
}

/** As `LossOps.crossEntropy`. */
export function crossEntropy(
  store: TensorStore,
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions = {},
): CrossEntropyResult {
  const problem = checkCrossEntropy(store, 'crossEntropy', logits, targets, options);
  const { loss, lse } = store.kernels.crossEntropy(rows(logits), flat(targets), problem);
  const dtype = statisticsDType(logits.dtype);
  return { loss: store.wrap(loss, [], dtype), lse: store.wrap(lse, targets.shape, dtype) };
}

/** As `LossGradOps.crossEntropyGrad`. */
export function crossEntropyGrad(
  store: TensorStore,
  dLoss: Tensor,
  logits: Tensor,
  targets: Tensor,
  lse: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const op = 'crossEntropyGrad';
  const problem = checkCrossEntropy(store, op, logits, targets, options);
  checkOwned(store, op, 'dLoss', dLoss);
  checkOwned(store, op, 'lse', lse);
  checkStatisticsScalar(op, 'dLoss', dLoss, logits.dtype);
  checkShapeIs(op, 'lse', lse, targets.shape);
  checkSameDType(op, 'lse', lse, 'dLoss', dLoss);
  const dlogits = store.kernels.crossEntropyGrad(kernelTensor(dLoss), rows(logits), flat(targets), flat(lse), problem);
  return store.wrap(dlogits, logits.shape, logits.dtype);
}

function checkCrossEntropy(
  store: TensorStore,
  op: string,
  logits: Tensor,
  targets: Tensor,
  options: CrossEntropyOptions,
): CrossEntropyProblem {
  checkOptions(op, options, ['ignoreIndex', 'count']);
  checkFloat(store, op, ['logits'], [logits]);
  if (logits.shape.length === 0) throw new ShapeError(`${op}: logits has shape []; expected [..., V]`);
  const { ignoreIndex = -100 } = options;
  checkInteger(op, 'ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
  checkIds(store, op, 'targets', targets, logits.shape[logits.shape.length - 1], ignoreIndex);
  checkShapeIs(op, 'targets', targets, logits.shape.slice(0, -1));
  let count = 0;
  for (const target of knownIndices(op, 'targets', targets)) if (target !== ignoreIndex) count++;
  if (options.count !== undefined) {
    checkInteger(op, 'count', options.count, Math.max(1, count), Number.MAX_SAFE_INTEGER);
    return { ignoreIndex, count: options.count };
  }
  if (count === 0) {
    throw new ValueError(`${op}: every target is ignoreIndex (${ignoreIndex}); the mean of none is undefined`);
  }
  return { ignoreIndex, count };
}
