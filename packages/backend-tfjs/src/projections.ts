import type { Rotation } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { activeProducts } from './engine.ts';
import { rotate, rotationTables } from './layer-ops.ts';
import { multiplyTransposed } from './multiply.ts';

/**
 * x [..., in] times weight [in, out], shaped as `shape`, with a gradient of its own: tfjs's multiplies with transpose
 * flags, which wasm does 13 times slower or worse.
 */
export function project(x: tf.Tensor, weight: tf.Tensor2D, shape: readonly number[]): tf.Tensor {
  const style = activeProducts();
  const [inputs, outputs] = weight.shape;
  const rows = x.size / inputs;
  const product = (a: tf.Tensor, aShape: Pair, b: tf.Tensor, bShape: Pair, transposeA: boolean, transposeB: boolean) =>
    multiplyTransposed(
      style,
      tf.reshape(a, [1, ...aShape]) as tf.Tensor3D,
      tf.reshape(b, [1, ...bShape]) as tf.Tensor3D,
      transposeA,
      transposeB,
    );
  const op = tf.customGrad((...args) => {
    const [input, matrix, save] = args as unknown as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    save([input, matrix]);
    return {
      value: tf.reshape(product(input, [rows, inputs], matrix, [inputs, outputs], false, false), [...shape]),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => [
        tf.reshape(product(dy, [rows, outputs], saved[1], [inputs, outputs], false, true), x.shape),
        tf.reshape(product(saved[0], [rows, inputs], dy, [rows, outputs], true, false), weight.shape),
      ],
    };
  });
  return op(x, weight);
}

type Pair = readonly [number, number];

/** spec §RoPE on x [B, L, H, D]; its gradient is the inverse rotation. */
export function rope(x: tf.Tensor4D, base: number): tf.Tensor4D {
  const [, length, , headDim] = x.shape;
  const turn = (y: tf.Tensor4D, inverse: boolean) => {
    const rotation: Rotation = { base, offset: 0, inverse };
    return rotate(y, rotationTables(length, headDim, rotation));
  };
  const op = tf.customGrad((...args) => ({
    value: turn(args[0] as tf.Tensor4D, false),
    gradFunc: (dy: tf.Tensor) => turn(dy as tf.Tensor4D, true),
  }));
  return op(x) as tf.Tensor4D;
}
