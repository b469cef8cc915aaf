import { type Backend, checkOptions, formatShape, ShapeError, type Tensor, ValueError } from '@lazy-attention/core';
import { isStatistic, listed, type Params } from '../params.ts';
import { adamwNarrow, inStateDType } from './narrow-state.ts';

/** What AdamW carries from step to step. `m` and `v` (means of g and g^2) have the names and shapes of the parameters. */
export interface AdamWState {
  /** Steps taken. */
  readonly steps: number;
  /** Mean of g. */
  readonly m: Params;
  /** Mean of g^2. */
  readonly v: Params;
}

/** How AdamW updates. */
export interface AdamWConfig {
  /** Default 0.9. */
  readonly beta1?: number | undefined;
  /** Default 0.95. */
  readonly beta2?: number | undefined;
  /** Default 1e-8. */
  readonly epsilon?: number | undefined;
  /** Decoupled: a parameter that decays loses learningRate * weightDecay of itself per step. Default 0.1. */
  readonly weightDecay?: number | undefined;
  /** Gradients are scaled down to this global norm; null: never. Default 1. */
  readonly maxNorm?: number | null | undefined;
  /** Which parameters decay, or by how much instead of `weightDecay`; default `decaysByDefault`. */
  readonly decays?: ((name: string, param: Tensor) => boolean | number) | undefined;
  /**
   * What the learning rate of a parameter is multiplied with at a step (from 1), its decay too; 0 leaves parameter, m and v as they
   * are. Default 1 for all.
   */
  readonly multiples?: ((name: string, step: number) => number) | undefined;
  /**
   * Type of m and v between steps; default that of the parameters. With 'bf16' they take half the memory: a step widens those of a
   * few parameters at a time, and rounds them to nearest. Changes of v below 0.2 % of it are lost then.
   */
  readonly stateDType?: 'bf16' | undefined;
  /** To go on from. Its tensors belong to the optimiser from now on. */
  readonly state?: AdamWState | undefined;
}

/** An optimiser over the parameters that it was made for. */
export interface AdamW {
  /** Taken so far. */
  readonly steps: number;
  /**
   * One fused step, in place on the parameters; nothing waits for the device. `grads` stay the caller's, and so does
   * `gradNormSquared`, the square of the global norm before clipping, shape [].
   */
  step(grads: Params, learningRate: number): { readonly gradNormSquared: Tensor };
  /** The state itself, not a copy: read it before the next step. */
  state(): AdamWState;
  /** Disposes m and v, not the parameters. */
  dispose(): void;
}

/**
 * Matrices decay: Linear weights and, as in LLaMA's and flash-linear-attention's training, the embedding and the LM head. Norm
 * weights do not, nor do attention's bias (a table of offsets, though it has two axes) and tau.
 */
export function decaysByDefault(name: string, param: Tensor): boolean {
  return param.shape.length >= 2 && !isStatistic(name);
}

/** AdamW with clipping over `params` (f32 or f64), which it updates in place. See core's `adamw` for the formula. */
export function adamW(backend: Backend, params: Params, config: AdamWConfig = {}): AdamW {
  const { update, ...rest } = adamWOver(backend, params, params, config);
  const names = Object.keys(params);
  return {
    get steps() {
      return rest.state().steps;
    },
    step(grads, learningRate) {
      checkLike('grads', grads, params);
      const gradNormSquared = backend.sumSquares(names.map((name) => grads[name]));
      try {
        update(params, grads, gradNormSquared, learningRate);
      } catch (error) {
        gradNormSquared.dispose();
        throw error;
      }
      return { gradNormSquared };
    },
    ...rest,
  };
}

/** AdamW over tensors that are given at each step, and a norm of all gradients that may know of more. */
export interface AdamWOver {
  /** One fused step, in place on `tensors`, which have the names and shapes of the first. */
  update(tensors: Params, grads: Params, gradNormSquared: Tensor, learningRate: number): void;
  /** As in `AdamW`. */
  state(): AdamWState;
  /** As in `AdamW`. */
  dispose(): void;
}

/** `parts` are what the optimiser moves: `params` themselves, or parts of them under their names. */
export function adamWOver(backend: Backend, parts: Params, params: Params, config: AdamWConfig): AdamWOver {
  checkOptions('adamW', config, [
    'beta1',
    'beta2',
    'epsilon',
    'weightDecay',
    'maxNorm',
    'decays',
    'state',
    'stateDType',
    'multiples',
  ]);
  const { beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weightDecay = 0.1, maxNorm = 1 } = config;
  const { decays = decaysByDefault, state, stateDType, multiples = () => 1 } = config;
  checkLimits(weightDecay, maxNorm);
  const names = Object.keys(parts);
  if (Object.keys(params).length === 0) throw new ValueError('adamW: params is empty');
  if (state !== undefined) {
    checkLike('state.m', state.m, parts);
    checkLike('state.v', state.v, parts);
    if (!Number.isSafeInteger(state.steps) || state.steps < 0) {
      throw new ValueError(`adamW: state.steps is ${state.steps}; expected an integer from 0`);
    }
  }
  const zeros = () =>
    backend.scope(() =>
      Object.fromEntries(
        names.map((name) => [name, backend.zeros(parts[name].shape, stateDType ?? parts[name].dtype)]),
      ),
    );
  const m = state === undefined ? zeros() : inStateDType(backend, state.m, parts, stateDType);
  const v = state === undefined ? zeros() : inStateDType(backend, state.v, parts, stateDType);
  const decayOf = Object.fromEntries(names.map((name) => [name, decayOfOne(decays(name, params[name]), weightDecay)]));
  let steps = state?.steps ?? 0;

  return {
    update(tensors, grads, gradNormSquared, learningRate) {
      for (const [multiple, group] of byMultiple(names, multiples, steps + 1)) {
        if (multiple === 0) continue;
        const updates = group.map((name) => ({
          param: tensors[name],
          grad: grads[name],
          m: m[name],
          v: v[name],
          weightDecay: decayOf[name],
        }));
        const options = {
          learningRate: learningRate * multiple,
          step: steps + 1,
          beta1,
          beta2,
          epsilon,
          ...(maxNorm === null ? {} : { clip: { normSquared: gradNormSquared, maxNorm } }),
        };
        if (stateDType === undefined) backend.adamw(updates, options);
        else adamwNarrow(backend, updates, options);
      }
      steps++;
    },
    state: () => ({ steps, m, v }),
    dispose() {
      for (const tensor of [...Object.values(m), ...Object.values(v)]) tensor.dispose();
    },
  };
}

function decayOfOne(decays: boolean | number, weightDecay: number): number {
  return typeof decays === 'number' ? decays : decays ? weightDecay : 0;
}

/** The names by their multiple of the learning rate, in order. @throws ValueError for one that is no number from 0 */
function byMultiple(
  names: readonly string[],
  multiples: NonNullable<AdamWConfig['multiples']>,
  step: number,
): Map<number, string[]> {
  const groups = new Map<number, string[]>();
  for (const name of names) {
    const multiple = multiples(name, step);
    if (!(multiple >= 0 && Number.isFinite(multiple))) {
      throw new ValueError(`adamW: multiples('${name}', ${step}) is ${multiple}; expected a number from 0`);
    }
    const group = groups.get(multiple);
    if (group === undefined) groups.set(multiple, [name]);
    else group.push(name);
  }
  return groups;
}

/** The same names, each with the shape of its parameter. */
export function checkLike(what: string, tensors: Params, params: Params): void {
  const missing = Object.keys(params).filter((name) => tensors[name] === undefined);
  if (missing.length > 0) throw new ValueError(`adamW: ${what} lacks ${listed(missing)}`);
  const extra = Object.keys(tensors).filter((name) => params[name] === undefined);
  if (extra.length > 0) throw new ValueError(`adamW: ${what} has ${listed(extra)}, which are no parameters`);
  for (const [name, param] of Object.entries(params)) {
    if (formatShape(tensors[name].shape) !== formatShape(param.shape)) {
      throw new ShapeError(
        `adamW: ${what}['${name}'] has shape ${formatShape(tensors[name].shape)}; the parameter has ${formatShape(param.shape)}`,
      );
    }
  }
}

function checkLimits(weightDecay: number, maxNorm: number | null): void {
  if (!(weightDecay >= 0 && Number.isFinite(weightDecay))) {
    throw new ValueError(`adamW: weightDecay is ${weightDecay}; expected a number from 0`);
  }
  if (maxNorm !== null && !(maxNorm > 0)) {
    throw new ValueError(`adamW: maxNorm is ${maxNorm}; expected a positive number, or null for no clipping`);
  }
}
