import { checkElementwise, checkOwned, checkStatisticsScalar } from '../checks.ts';
import type { AdamWUpdate } from '../contract/kernels.ts';
import { statisticsDType } from '../dtype.ts';
import { DTypeError, ValueError } from '../errors.ts';
import { kernelTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Tensor } from '../lifetimes/tensor.ts';
import { checkFinite, checkInteger, checkList, checkOptions, checkPositive } from '../shape.ts';

/** One parameter, its gradient and its state; of one shape and type, f32 or f64. */
export interface AdamWTensors {
  /** Written in place. */
  readonly param: Tensor;
  /** Left as it is. */
  readonly grad: Tensor;
  /** Mean of the gradients, written in place; zeros at first. */
  readonly m: Tensor;
  /** Mean of their squares, written in place; zeros at first. */
  readonly v: Tensor;
  /** Decoupled decay of this parameter; default 0. */
  readonly weightDecay?: number;
}

/** Of `adamw`. */
export interface AdamWOptions {
  /** Step size. */
  readonly learningRate: number;
  /** 1 for the first step. */
  readonly step: number;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.95. */
  readonly beta2?: number;
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Scales gradients down so that their global norm, the root of `normSquared` ([]), is at most `maxNorm`. */
  readonly clip?: { readonly normSquared: Tensor; readonly maxNorm: number };
}

/** Optimisers. */
export interface OptimizerOps {
  /** One fused optimiser step over all updates, in place on param, m and v. See `AdamWOptions`. */
  adamw(updates: readonly AdamWTensors[], options: AdamWOptions): void;
}

const OP = 'adamw';

/** As `OptimizerOps.adamw`. */
export function adamw(store: TensorStore, updates: readonly AdamWTensors[], options: AdamWOptions): void {
  checkOptions(OP, options, ['learningRate', 'step', 'beta1', 'beta2', 'epsilon', 'clip']);
  const { learningRate, step, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8 } = options;
  const clip = options.clip === undefined ? null : { ...options.clip };
  checkFinite(OP, 'learningRate', learningRate);
  checkInteger(OP, 'step', step, 1, Number.MAX_SAFE_INTEGER);
  checkPositive(OP, 'epsilon', epsilon);
  for (const [name, beta] of Object.entries({ beta1, beta2 })) {
    if (!(beta >= 0 && beta < 1)) throw new ValueError(`${OP}: ${name} is ${beta}; expected 0 <= ${name} < 1`);
  }
  const given = checkList(OP, 'updates', updates).map((update) => ({ ...update }));
  const checked = given.map((update, i) => checkUpdate(store, update, i));
  if (clip !== null) {
    checkPositive(OP, 'clip.maxNorm', clip.maxNorm);
    checkOwned(store, OP, 'clip.normSquared', clip.normSquared);
    checkStatisticsScalar(OP, 'clip.normSquared', clip.normSquared, given[0]?.param.dtype ?? 'f32');
  }
  if (checked.length === 0) return;
  store.kernels.adamw(checked, {
    learningRate,
    beta1,
    beta2,
    epsilon,
    correction1: 1 - beta1 ** step,
    correction2: 1 - beta2 ** step,
    clip: clip === null ? null : { normSquared: kernelTensor(clip.normSquared), maxNorm: clip.maxNorm },
  });
  for (const { param, m, v } of given) for (const written of [param, m, v]) written.storage.version++;
}

function checkUpdate(store: TensorStore, update: AdamWTensors, index: number): AdamWUpdate {
  const { param, grad, m, v, weightDecay = 0 } = update;
  const name = (part: string) => `updates[${index}].${part}`;
  checkElementwise(store, OP, [name('param'), name('grad'), name('m'), name('v')], [param, grad, m, v]);
  if (param.dtype !== statisticsDType(param.dtype)) {
    throw new DTypeError(`${OP}: ${name('param')} is ${param.dtype}; expected f32 master weights; cast in the model`);
  }
  checkFinite(OP, name('weightDecay'), weightDecay);
  return {
    param: kernelTensor(param),
    grad: kernelTensor(grad),
    m: kernelTensor(m),
    v: kernelTensor(v),
    weightDecay,
  };
}
