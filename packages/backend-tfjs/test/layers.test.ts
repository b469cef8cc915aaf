import '@tensorflow/tfjs-backend-cpu';
import { lazyAttentionLayer } from '@lazy-attention/backend-tfjs/layers';
import { ValueError } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { input, loadLayersModel, model } from '@tensorflow/tfjs-layers';
import { beforeAll, expect, it } from 'vitest';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const build = () => {
  const x = input({ shape: [6, 16] });
  const layer = lazyAttentionLayer({ heads: 4, kvHeads: 2, window: 5 });
  return { layer, net: model({ inputs: x, outputs: layer.apply(x) as ReturnType<typeof input> }) };
};

it('has the weights of the mechanism, and gives the first token nothing while tau is -1', () => {
  const { layer, net } = build();
  expect(layer.weights.map((weight) => weight.shape)).toEqual([[16, 16], [16, 8], [16, 8], [16, 16], [4, 5], [4]]);
  const output = net.predict(tf.randomNormal([2, 6, 16], 0, 1, 'float32', 1)) as tf.Tensor3D;
  expect(output.shape).toEqual([2, 6, 16]);
  const rows = output.arraySync();
  expect(rows[0][0].every((value) => value === 0)).toBe(true);
  expect(rows[0][5].some((value) => value !== 0)).toBe(true);
});

it('has gradients in all weights that agree with finite differences', () => {
  const { layer, net } = build();
  const x = tf.randomNormal([2, 6, 16], 0, 1, 'float32', 2);
  const dy = tf.randomNormal([2, 6, 16], 0, 1, 'float32', 3);
  const variables = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
  for (const [i, variable] of variables.entries())
    variable.assign(tf.randomNormal(variable.shape, 0, 0.3, 'float32', 10 + i));
  // Away from tau = -1, where the first token's weight sits exactly on the kink of the ReLU.
  variables.at(-1)?.assign(tf.fill([4], -0.3));
  // tf.variableGrads needs a scalar, and tfjs-core alone has no gradient for sum; a custom one stands in.
  const weighted = tf.customGrad((...args) => ({
    value: tf.sum(tf.mul(args[0] as tf.Tensor, dy)),
    gradFunc: (d: tf.Tensor) => tf.mul(dy, d),
  }));
  const loss = () => weighted(net.apply(x) as tf.Tensor) as tf.Scalar;
  const { grads } = tf.variableGrads(loss, variables);
  for (const variable of variables) {
    const gradient = grads[variable.name].dataSync();
    const before = variable.dataSync().slice();
    const at = before.length >> 1;
    const step = 2e-3;
    const nudged = (delta: number) => {
      const values = before.slice();
      values[at] += delta;
      variable.assign(tf.tensor(values, variable.shape));
      return loss().dataSync()[0];
    };
    const difference = (nudged(step) - nudged(-step)) / (2 * step);
    variable.assign(tf.tensor(before, variable.shape));
    expect(Math.abs(gradient[at] - difference)).toBeLessThan(2e-2 * Math.max(1, Math.abs(difference)));
  }
});

it('survives saving and loading', async () => {
  const { net } = build();
  const x = tf.randomNormal([1, 6, 16], 0, 1, 'float32', 4);
  let saved: tf.io.ModelArtifacts | undefined;
  await net.save(
    tf.io.withSaveHandler(async (artifacts) => {
      saved = artifacts;
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
    }),
  );
  const loaded = await loadLayersModel(tf.io.fromMemory(saved as tf.io.ModelArtifacts));
  const [a, b] = [net, loaded].map((each) => (each.predict(x) as tf.Tensor).dataSync());
  expect(b).toEqual(a);
});

it('refuses sizes that do not fit', () => {
  expect(() => lazyAttentionLayer({ heads: 4, kvHeads: 3 })).toThrow(ValueError);
  expect(() => lazyAttentionLayer({ heads: 0 })).toThrow(/heads is 0; expected a positive integer/);
  const x = input({ shape: [6, 12] });
  expect(() => lazyAttentionLayer({ heads: 4 }).apply(x)).toThrow(/headDim is 3/);
});
