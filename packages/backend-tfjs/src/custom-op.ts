import {
  type AttentionSizes,
  checkOptions,
  formatShape,
  LEARNED_NAMES,
  learned,
  PER_HEAD_NAMES,
  type PerHead,
  ShapeError,
  ValueError,
} from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { type AttentionTensors, attentionBackward, attentionForward } from './attention.ts';
import { activeProducts } from './engine.ts';

/** What `lazyAttention` takes beside q, k and v; the learned inputs are core's (`LEARNED_INPUTS`). */
export interface LazyAttentionOptions extends Partial<PerHead<tf.Tensor>> {
  /** [H, W] added to the score at relative distance d < W. */
  readonly bias?: tf.Tensor;
  /** [B, L] int32: first key that each row attends. Not differentiated; its values are taken as they are. */
  readonly starts?: tf.Tensor;
  /** Default 1 / sqrt(D). */
  readonly scale?: number;
}

/**
 * Lazy attention (spec §Forward) on tfjs tensors and the active engine, differentiable by `tf.grad`, `tf.grads` and
 * `tf.variableGrads` in q, k, v and the learned inputs with kernels of its own: no gradient of tfjs is needed.
 *
 * q is [B, L, H, D]; k and v are [B, S, Hkv, D] with H a multiple of Hkv and L <= S. Returns [B, L, H, D].
 * @throws ShapeError, ValueError with the argument, what was found and what was expected.
 */
export function lazyAttention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  options: LazyAttentionOptions = {},
): tf.Tensor4D {
  checkOptions('lazyAttention', options, [...LEARNED_NAMES, 'starts', 'scale']);
  const { starts, scale } = options;
  const given = LEARNED_NAMES.filter((name) => options[name] !== undefined);
  const sizes = planSizes(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, options);
  const style = activeProducts();
  const inputsOf = (tensors: readonly tf.Tensor[]): AttentionTensors => ({
    sizes,
    scale: scale ?? 1 / Math.sqrt(sizes.headDim),
    q: tensors[0] as tf.Tensor4D,
    k: tensors[1] as tf.Tensor4D,
    v: tensors[2] as tf.Tensor4D,
    ...(learned((name) => (given.includes(name) ? tensors[3 + given.indexOf(name)] : null)) as LearnedTensors),
    starts: (starts as tf.Tensor2D | undefined) ?? null,
  });
  const differentiable = [q, k, v, ...given.map((name) => options[name] as tf.Tensor)];
  const op = tf.customGrad((...args) => {
    const save = args.pop() as tf.GradSaveFunc;
    const tensors = args as tf.Tensor[];
    save(tensors);
    return {
      value: attentionForward(style, inputsOf(tensors)),
      gradFunc: (dOutput: tf.Tensor, saved: tf.Tensor[]) => {
        const grads = attentionBackward(style, dOutput as tf.Tensor4D, inputsOf(saved));
        return [grads.dq, grads.dk, grads.dv, ...given.map((name) => grads[`d${name}`] as tf.Tensor)];
      },
    };
  });
  return op(...differentiable) as tf.Tensor4D;
}

type LearnedTensors = PerHead<tf.Tensor1D | null> & { readonly bias: tf.Tensor2D | null };

function planSizes(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, options: LazyAttentionOptions): AttentionSizes {
  for (const [name, x] of Object.entries({ q, k, v })) {
    if (x.shape.length !== 4)
      fail(`${name} has shape ${formatShape(x.shape)}; expected [batch, length, heads, headDim]`);
    if (x.dtype !== 'float32') throw new ValueError(`lazyAttention: ${name} is ${x.dtype}; expected float32`);
  }
  const [batch, queryLength, heads, headDim] = q.shape;
  const [, keyLength, kvHeads] = k.shape;
  const expect = (name: string, x: tf.Tensor, shape: readonly number[]) => {
    if (formatShape(x.shape) !== formatShape(shape)) {
      fail(`${name} has shape ${formatShape(x.shape)}; expected ${formatShape(shape)}`);
    }
  };
  expect('k', k, [batch, keyLength, kvHeads, headDim]);
  expect('v', v, k.shape);
  if (heads % kvHeads !== 0) {
    fail(
      `k has shape ${formatShape(k.shape)}; query heads (${heads}) must be a multiple of key/value heads (${kvHeads})`,
    );
  }
  if (queryLength > keyLength) {
    fail(`q has ${queryLength} rows and k ${keyLength}; queries are the last of the keys, so at most as many`);
  }
  const window = options.bias?.shape[1] ?? 0;
  if (options.bias !== undefined) expect('bias', options.bias, [heads, window]);
  for (const name of PER_HEAD_NAMES) {
    const x = options[name];
    if (x !== undefined) expect(name, x, [heads]);
  }
  if (options.starts !== undefined) expect('starts', options.starts, [batch, queryLength]);
  const { scale } = options;
  if (scale !== undefined && !Number.isFinite(scale)) {
    throw new ValueError(`lazyAttention: scale is ${scale}; expected a finite number`);
  }
  return { batch, queryLength, keyLength, keyCapacity: keyLength, heads, kvHeads, headDim, window };
}

function fail(message: string): never {
  throw new ShapeError(`lazyAttention: ${message}`);
}
