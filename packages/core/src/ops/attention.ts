import { checkFloat, checkFourAxes, checkOwned, checkShapeIs, checkStatistics, knownIndices } from '../checks.ts';
import {
  type AttentionInputs,
  type AttentionSizes,
  LEARNED_INPUTS,
  LEARNED_NAMES,
  type Learned,
  type LearnedGrads,
  learned,
  learnedGrads,
} from '../contract/attention.ts';
import type { KernelTensor } from '../contract/tensor.ts';
import { statisticsDType } from '../dtype.ts';
import { DTypeError, ShapeError, ValueError } from '../errors.ts';
import { kernelTensor, optionalTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Tensor } from '../lifetimes/tensor.ts';
import {
  checkFinite,
  checkFlag,
  checkInteger,
  checkOptions,
  checkShape,
  describe,
  formatShape,
  type Shape,
  sameShape,
} from '../shape.ts';
import { KeptAttention, type SavedAttention } from './saved.ts';

/** Largest D. */
export const MAX_HEAD_DIM = 256;

/** The learned inputs as options: see `LEARNED_INPUTS`. */
export type LearnedOptions = Partial<Learned<Tensor | undefined>>;

/** Of `attention` and `attentionWeights`. */
export interface AttentionOptions extends LearnedOptions {
  /** [B, L] i32: first key that row r attends; 0 <= starts <= r + S - L and not decreasing along r. Default 0. */
  readonly starts?: Tensor | undefined;
  /** Default 1 / sqrt(D). */
  readonly scale?: number | undefined;
  /**
   * S, when k and v are caches with room for more keys: only the first `keyLength` are read. A cache longer than
   * that cannot be differentiated, so it goes with `save: false`. Default: all.
   */
  readonly keyLength?: number | undefined;
  /** Keep what `attentionGrad` needs. False is cheaper, for inference. Default true. */
  readonly save?: boolean | undefined;
}

/** What `attention` returns. */
export interface AttentionResult {
  /** [B, L, H, D] in q's type. */
  readonly output: Tensor;
  /** For `attentionGrad`; dispose it when done. With `save: false` it is empty and cannot be used. */
  readonly saved: SavedAttention;
}

/** What `attentionGrad` returns, each like its input; undefined for a learned input that was not given. */
export interface AttentionGradResult extends LearnedGrads<Tensor | undefined> {
  /** Gradient of q. */
  readonly dq: Tensor;
  /** Gradient of k. */
  readonly dk: Tensor;
  /** Gradient of v. */
  readonly dv: Tensor;
}

/** Attention, spec §Forward. */
export interface AttentionOps {
  /**
   * Lazy attention, spec §Forward. q [B, L, H, D], k and v [B, S, Hkv, D]; H a multiple of Hkv, D a multiple of 4
   * up to 256, L <= S. Without tau it is softmax attention; with a fixed bias, ALiBi. See `AttentionOptions`.
   */
  attention(q: Tensor, k: Tensor, v: Tensor, options?: AttentionOptions): AttentionResult;
}

/** The gradient of `AttentionOps`. */
export interface AttentionGradOps {
  /**
   * spec §Backward. dbias is there when bias was, and so on. `saved` can be used more than once.
   * @throws ValueError when what `attention` was given has been written in place since
   */
  attentionGrad(dOutput: Tensor, saved: SavedAttention): AttentionGradResult;
}

/** The weights themselves, which are not differentiated. */
export interface AttentionWeightOps {
  /** w of spec §Forward as [B, H, L, S] in the statistics type: for looking, not for speed. */
  attentionWeights(q: Tensor, k: Tensor, options?: Omit<AttentionOptions, 'save'>): Tensor;
}

/** Of `AttentionOptions`, those that attentionWeights has too. */
const OPTIONS = [...LEARNED_NAMES, 'starts', 'scale', 'keyLength'] as const;

/** As `AttentionOps.attention`. */
export function attention(
  store: TensorStore,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): AttentionResult {
  checkOptions('attention', options, [...OPTIONS, 'save']);
  const given = { ...options }; // read once: what is checked is what is used
  checkOwned(store, 'attention', 'v', v); // null stands for "no v" below
  const inputs = attentionInputs(store, 'attention', q, k, v, given);
  const { save = true } = given;
  checkFlag('attention', 'save', save);
  const result = store.kernels.attention(inputs, save);
  const output = store.wrap(result.output, q.shape, q.dtype);
  const held = save ? { q, k, v, output, ...learned((name) => given[name]), starts: given.starts } : {};
  const saved = new KeptAttention(store.lifetimes, store.kernels, inputs, output, result.saved, held);
  return { output, saved };
}

/** As `AttentionGradOps.attentionGrad`. */
export function attentionGrad(store: TensorStore, dOutput: Tensor, saved: SavedAttention): AttentionGradResult {
  const op = 'attentionGrad';
  checkFloat(store, op, ['dOutput'], [dOutput]);
  if (!(saved instanceof KeptAttention)) {
    throw new ValueError(`${op}: saved is ${describe(saved)}; expected what attention returned`);
  }
  const { inputs, output, kept } = saved.open(op, store.kernels);
  const like = inputs.q;
  checkShapeIs(op, 'dOutput', dOutput, like.shape);
  if (dOutput.dtype !== like.dtype) {
    throw new DTypeError(`${op}: dOutput is ${dOutput.dtype}; expected ${like.dtype}, the type of q`);
  }
  const grads = store.kernels.attentionGrad(kernelTensor(dOutput), inputs, output, kept);
  const wrapLike = (buffer: object, x: KernelTensor) => store.wrap(buffer, x.shape, x.dtype);
  return {
    dq: wrapLike(grads.dq, inputs.q),
    dk: wrapLike(grads.dk, inputs.k),
    dv: wrapLike(grads.dv, inputs.v),
    ...learnedGrads((name) => {
      const [grad, input] = [grads[`d${name}`], inputs[name]];
      return grad === null || input === null ? undefined : wrapLike(grad, input);
    }),
  };
}

/** As `AttentionWeightOps.attentionWeights`. */
export function attentionWeights(
  store: TensorStore,
  q: Tensor,
  k: Tensor,
  options: Omit<AttentionOptions, 'save'> = {},
): Tensor {
  checkOptions('attentionWeights', options, OPTIONS);
  const inputs = attentionInputs(store, 'attentionWeights', q, k, null, { ...options });
  const { batch, heads, queryLength, keyLength } = inputs.sizes;
  const shape = checkShape('attentionWeights', [batch, heads, queryLength, keyLength]);
  return store.wrap(store.kernels.attentionWeights(inputs), shape, statisticsDType(q.dtype));
}

function attentionInputs(
  store: TensorStore,
  op: string,
  q: Tensor,
  k: Tensor,
  v: Tensor | null,
  options: AttentionOptions,
): AttentionInputs {
  const { starts } = options;
  if (v === null) checkFloat(store, op, ['q', 'k'], [q, k]);
  else checkFloat(store, op, ['q', 'k', 'v'], [q, k, v]);
  checkLearnedOwned(store, op, options);
  if (starts !== undefined) checkOwned(store, op, 'starts', starts);
  const { sizes, scale } = planAttention(op, q, k, v, options);
  return {
    sizes,
    scale,
    q: kernelTensor(q),
    k: kernelTensor(k),
    v: kernelTensor(v ?? k),
    ...learned((name) => optionalTensor(options[name])),
    starts: optionalTensor(starts),
  };
}

/** Checks what spec §Shapes and symbols asks of q, k and v and returns the sizes. */
function planAttention(
  op: string,
  q: Tensor,
  k: Tensor,
  v: Tensor | null,
  options: AttentionOptions,
): { sizes: AttentionSizes; scale: number } {
  checkFourAxes(op, 'q', q.shape, '[B, L, H, D]');
  checkFourAxes(op, 'k', k.shape, '[B, S, Hkv, D]');
  const [batch, queryLength, heads, headDim] = q.shape;
  const [kBatch, keyCapacity, kvHeads, kDim] = k.shape;
  if (kBatch !== batch) mismatch(op, 'k', k.shape, `batch must be that of q (${batch})`);
  if (kDim !== headDim) mismatch(op, 'k', k.shape, `head size must be that of q (${headDim})`);
  if (heads % kvHeads !== 0) {
    mismatch(op, 'k', k.shape, `query heads (${heads}) must be a multiple of key/value heads (${kvHeads})`);
  }
  if (headDim % 4 !== 0 || headDim > MAX_HEAD_DIM) {
    mismatch(op, 'q', q.shape, `head size (${headDim}) must be a multiple of 4, at most ${MAX_HEAD_DIM}`);
  }
  if (v !== null && !sameShape(v.shape, k.shape)) {
    mismatch(op, 'v', v.shape, `must have the shape of k, ${formatShape(k.shape)}`);
  }
  const keyLength = options.keyLength ?? keyCapacity;
  checkInteger(op, 'keyLength', keyLength, 1, keyCapacity);
  if (queryLength > keyLength) {
    mismatch(op, 'q', q.shape, `queries (${queryLength}) are the last of the keys, so at most ${keyLength}`);
  }
  if (keyLength < keyCapacity && v !== null && options.save !== false) {
    throw new ValueError(
      `${op}: keyLength is ${keyLength} of ${keyCapacity}; a partly filled cache cannot be differentiated; pass save: false, or slice k and v`,
    );
  }
  const window = planLearned(op, options, heads, q);
  if (options.starts !== undefined) checkStarts(op, options.starts, batch, queryLength, keyLength);
  const scale = options.scale ?? 1 / Math.sqrt(headDim);
  checkFinite(op, 'scale', scale);
  return { sizes: { batch, queryLength, keyLength, keyCapacity, heads, kvHeads, headDim, window }, scale };
}

/** Checks that the learned inputs that are given belong to this backend. */
export function checkLearnedOwned(store: TensorStore, op: string, given: LearnedOptions): void {
  for (const name of LEARNED_NAMES) {
    const x = given[name];
    if (x !== undefined) checkOwned(store, op, name, x);
  }
}

/** Checks the learned inputs beside operands like `like`, and returns W, 0 without a table [H, W]. */
export function planLearned(op: string, given: LearnedOptions, heads: number, like: Tensor): number {
  let window = 0;
  for (const name of LEARNED_NAMES) {
    const x = given[name];
    if (x === undefined) continue;
    if (LEARNED_INPUTS[name].axes === 'H') {
      checkPerHead(op, name, x, heads, like);
    } else {
      checkStatistics(op, name, x, like.dtype);
      if (x.shape.length !== 2 || x.shape[0] !== heads) {
        mismatch(op, name, x.shape, `expected [H, W] with H = ${heads}`);
      }
      window = x.shape[1];
    }
  }
  return window;
}

/** Checks an input [H] beside operands like `like`. */
export function checkPerHead(op: string, name: string, x: Tensor, heads: number, like: Tensor): void {
  checkStatistics(op, name, x, like.dtype);
  if (!sameShape(x.shape, [heads])) mismatch(op, name, x.shape, `expected [H] = [${heads}]`);
}

/** 0 <= starts[b, r] <= r + S - L, and a window never moves back. */
export function checkStarts(op: string, starts: Tensor, batch: number, queryLength: number, keyLength: number): void {
  const values = knownIndices(op, 'starts', starts);
  if (!sameShape(starts.shape, [batch, queryLength])) {
    mismatch(op, 'starts', starts.shape, `expected [B, L] = [${batch}, ${queryLength}]`);
  }
  const offset = keyLength - queryLength;
  for (let b = 0; b < batch; b++) {
    let previous = 0;
    for (let r = 0; r < queryLength; r++) {
      const start = values[b * queryLength + r];
      if (start < 0 || start > r + offset) {
        throw new ValueError(
          `${op}: starts[${b}, ${r}] is ${start}; row ${r} is position ${r + offset}, so expected 0 to ${r + offset}`,
        );
      }
      if (start < previous) {
        throw new ValueError(`${op}: starts[${b}, ${r}] is ${start} after ${previous}; starts must not decrease`);
      }
      previous = start;
    }
  }
}

function mismatch(op: string, name: string, shape: Shape, rule: string): never {
  throw new ShapeError(`${op}: ${name} has shape ${formatShape(shape)}; ${rule}`);
}
