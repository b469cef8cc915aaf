import '@tensorflow/tfjs-backend-cpu';
import '@tensorflow/tfjs-backend-wasm';
import { provider as reference } from '@lazy-attention/backend-reference';
import { lazyAttention } from '@lazy-attention/backend-tfjs';
import { Backend, ShapeError, ValueError } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';

const [B, L, H, Hkv, D, W] = [2, 9, 4, 2, 8, 5];

const values = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);

function problem() {
  return {
    q: values([B, L, H, D], 1) as tf.Tensor4D,
    k: values([B, L, Hkv, D], 2) as tf.Tensor4D,
    v: values([B, L, Hkv, D], 3) as tf.Tensor4D,
    bias: values([H, W], 4) as tf.Tensor2D,
    tau: tf.tensor1d([-1, 0.5, -0.3, -2]),
    starts: tf.tensor2d(
      Array.from({ length: B * L }, (_, i) => (i % L > 4 ? 3 : 0)),
      [B, L],
      'int32',
    ),
    dOutput: values([B, L, H, D], 5) as tf.Tensor4D,
  };
}

function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

describe.each(['wasm', 'cpu'])('lazyAttention on %s', (engine) => {
  beforeAll(async () => {
    await tf.setBackend(engine);
  });

  it('equals the reference, forward and in tf.grads', async () => {
    const { q, k, v, bias, tau, starts, dOutput } = problem();
    const gradients = tf.grads((...args) => {
      const [q, k, v, bias, tau] = args as unknown as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D, tf.Tensor2D, tf.Tensor1D];
      return lazyAttention(q, k, v, { bias, tau, starts });
    })([q, k, v, bias, tau], dOutput);

    const oracle = new Backend(await reference.create({}));
    const upload = (x: tf.Tensor) =>
      oracle.tensor(x.dataSync() as Float32Array, x.shape, x.dtype === 'int32' ? 'i32' : 'f64');
    const { output, saved } = oracle.attention(upload(q), upload(k), upload(v), {
      bias: upload(bias),
      tau: upload(tau),
      starts: upload(starts),
    });
    const { dq, dk, dv, dbias, dtau } = oracle.attentionGrad(upload(dOutput), saved);

    const actual = [lazyAttention(q, k, v, { bias, tau, starts }), ...gradients];
    const expected = [output, dq, dk, dv, dbias, dtau];
    for (const [i, x] of actual.entries()) {
      expect(x.shape).toEqual(expected[i]?.shape);
      const error = relativeError(x.dataSync(), (await expected[i]?.data()) ?? []);
      expect(error, `tensor ${i}`).toBeLessThan(2e-6);
    }
    await oracle.dispose();
  });

  it('is softmax attention without tau and bias', () => {
    const { q, k, v } = problem();
    const [output, ones] = [lazyAttention(q, k, v), lazyAttention(q, k, tf.onesLike(v))];
    expect(output.shape).toEqual([B, L, H, D]);
    for (const value of ones.dataSync()) expect(value).toBeCloseTo(1, 5);
  });

  it('leaves no tensor behind over 1,000 training steps', () => {
    const length = 4;
    const shape: [number, number, number, number] = [1, length, 1, 4];
    const [k, v, target] = [1, 2, 3].map((seed) => values(shape, seed) as tf.Tensor4D);
    let q = values(shape, 4) as tf.Tensor4D;
    let tau = tf.tensor1d([-1]);
    const step = () => {
      const [nextQ, nextTau] = tf.tidy(() => {
        const error = tf.sub(lazyAttention(q, k, v, { tau }), target);
        const [dq, dtau] = tf.grads((a, b) => lazyAttention(a as tf.Tensor4D, k, v, { tau: b as tf.Tensor1D }))(
          [q, tau],
          error,
        );
        return [tf.sub(q, tf.mul(dq, 0.1)), tf.sub(tau, tf.mul(dtau, 0.1))];
      });
      q.dispose();
      tau.dispose();
      q = nextQ as tf.Tensor4D;
      tau = nextTau as tf.Tensor1D;
    };
    step();
    const before = tf.memory();
    for (let i = 0; i < 1000; i++) step();
    const after = tf.memory();
    expect(after.numTensors).toBe(before.numTensors);
    expect(after.numBytes).toBe(before.numBytes);
  });
});

describe('what lazyAttention refuses', () => {
  const shape: [number, number, number, number] = [1, 3, 2, 4];

  it.each([
    ['head counts', () => lazyAttention(tf.ones([1, 3, 3, 4]), tf.ones(shape), tf.ones(shape)), ShapeError, /multiple/],
    [
      'v of another shape',
      () => lazyAttention(tf.ones(shape), tf.ones(shape), tf.ones([1, 3, 1, 4])),
      ShapeError,
      /^lazyAttention: v has shape/,
    ],
    ['too few keys', () => lazyAttention(tf.ones([1, 4, 2, 4]), tf.ones(shape), tf.ones(shape)), ShapeError, /at most/],
    [
      'tau of another size',
      () => lazyAttention(tf.ones(shape), tf.ones(shape), tf.ones(shape), { tau: tf.ones([3]) }),
      ShapeError,
      /tau/,
    ],
    [
      'an unknown option',
      () => lazyAttention(tf.ones(shape), tf.ones(shape), tf.ones(shape), { causal: false } as object),
      ValueError,
      /causal/,
    ],
    [
      'a scale that is no number',
      () => lazyAttention(tf.ones(shape), tf.ones(shape), tf.ones(shape), { scale: Number.NaN }),
      ValueError,
      /scale/,
    ],
    ['int32', () => lazyAttention(tf.ones(shape, 'int32'), tf.ones(shape), tf.ones(shape)), ValueError, /float32/],
  ])('%s', (_, call, kind, message) => {
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });
});
