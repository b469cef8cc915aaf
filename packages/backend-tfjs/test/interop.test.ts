import { provider as reference } from '@lazy-attention/backend-reference';
import { fromTfjs, provider, toTfjs } from '@lazy-attention/backend-tfjs';
import { Backend, DTypeError, ShapeError, type Tensor, UnsupportedError, ValueError } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';

let backend: Backend;

beforeAll(async () => {
  backend = new Backend(await provider.create({ engine: 'wasm' }));
});

afterAll(async () => {
  await backend.dispose();
});

it('shares memory both ways', async () => {
  const x = tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]);
  const { numDataBuffers } = tf.memory();
  const ours = fromTfjs(backend, x);
  const back = toTfjs(backend.reshape(ours, [3, 2]));
  expect(tf.memory()).toMatchObject({ numDataBuffers });
  expect(back.shape).toEqual([3, 2]);
  x.dispose();
  expect(Array.from(await ours.data())).toEqual([1, 2, 3, 4, 5, 6]);
  ours.dispose();
  expect(Array.from(await back.data())).toEqual([1, 2, 3, 4, 5, 6]);
  back.dispose();
});

it('does not let writes in place reach a tensor of the user', async () => {
  const x = tf.tensor1d([1, 2, 3]);
  const ours = fromTfjs(backend, x);
  backend.copyInto(ours, backend.tensor([9], [1]), 0, 1);
  expect(Array.from(await ours.data())).toEqual([1, 9, 3]);
  expect(Array.from(x.dataSync())).toEqual([1, 2, 3]);
});

it('lives through tf.tidy on our side and dies with it on theirs', () => {
  const before = tf.memory().numTensors;
  let kept: Tensor | undefined;
  tf.tidy(() => {
    kept = fromTfjs(backend, tf.ones([4]));
    toTfjs(kept);
  });
  expect(tf.memory().numTensors).toBe(before + 1);
  kept?.dispose();
  expect(tf.memory().numTensors).toBe(before);
});

it('refuses what it cannot share', async () => {
  expect(() => fromTfjs(backend, tf.tensor1d([1], 'int32'))).toThrow(DTypeError);
  const other = new Backend(await reference.create({}));
  expect(() => fromTfjs(other, tf.ones([1]))).toThrow(UnsupportedError);
  expect(() => toTfjs(other.zeros([1]))).toThrow(UnsupportedError);
  const foreign = { ...tf.ones([1]), dtype: 'float32' };
  expect(() => fromTfjs(backend, foreign as unknown as tf.Tensor)).toThrow(ValueError);
  await other.dispose();
});

it('adopts no more, no less and nothing else than a buffer holds', async () => {
  const handle = { tensor: tf.keep(tf.ones([4])) };
  for (const shape of [[5], [3], [1000, 1000], [1]]) {
    expect(() => backend.adopt(handle, shape, 'f32')).toThrow(ShapeError);
  }
  expect(() => backend.adopt(handle, [1000], 'f32')).toThrow(/buffer holds 4 elements; shape \[1000\] has 1000/);
  const integers = { tensor: tf.ones([4], 'int32') };
  expect(() => backend.adopt(integers, [4], 'f32')).toThrow(DTypeError);
  for (const other of [{}, { tensor: null }, { tensor: { size: 4, dtype: 'float32' } }]) {
    expect(() => backend.adopt(other, [4], 'f32')).toThrow(ValueError);
  }
  const ours = backend.adopt(handle, [2, 2], 'f32');
  expect([...(await ours.data())]).toEqual([1, 1, 1, 1]);
  ours.dispose();
  expect(() => backend.adopt(handle, [4], 'f32')).toThrow(ValueError);
});
