import { type LazyTransformerConfig, lazyTransformer } from '@lazy-attention/nn';
import type { TrainCase } from '../../cases.ts';
import { type HostParam, OPTIMIZER, ropeConstants, trainingTokens } from '../../recipe.ts';
import type { Tensors, Tf, TfTensor } from './api.ts';
import { attentionTensors, lazyAttention } from './attention.ts';

/** packages/nn's architecture and optimiser in TensorFlow.js's own ops, with its own autodiff. */
export function trainer(tf: Tf, task: TrainCase, initial: readonly HostParam[]): { step(): TfTensor; dispose(): void } {
  const { config } = lazyTransformer(task.model);
  const { vocabSize, context, headDim, ropeBase } = config;
  const { learningRate } = task;
  const tokens = trainingTokens(task);
  const { beta1, beta2, epsilon, weightDecay, maxNorm } = OPTIMIZER;
  const variables = initial.map(({ name, values, shape, decays }) => ({
    name,
    decay: decays ? 1 - learningRate * weightDecay : 1,
    param: tf.variable(tf.tensor(values, shape), true, name),
    m: tf.variable(tf.zeros(shape), false, `${name}.m`),
    v: tf.variable(tf.zeros(shape), false, `${name}.v`),
  }));
  const params: Tensors = Object.fromEntries(variables.map(({ name, param }) => [name, param]));
  const half = [context, headDim / 2];
  const { cos, sin } = ropeConstants(context, headDim, ropeBase);
  const data: Tensors = {
    ...attentionTensors(tf, context),
    cos: tf.tensor(cos, half),
    sin: tf.tensor(sin, half),
    // Products with one-hot rows: the wasm engine lacks the gradient of a lookup.
    tokens: tf.tidy(() => tf.mul(tf.oneHot(tf.tensor(tokens, [tokens.length], 'int32'), vocabSize), 1)),
  };
  let steps = 0;
  return {
    step: () =>
      tf.tidy(() => {
        steps++;
        const { value, grads } = tf.variableGrads(
          () => lossOf(tf, config, params, data),
          variables.map(({ param }) => param),
        );
        // Two at a time: addN of the webgpu engine binds a buffer per operand, of which WebGPU guarantees 8.
        const squares = variables.map(({ name }) => tf.sum(tf.square(grads[name])));
        const norm = tf.sqrt(squares.reduce((a, b) => tf.add(a, b)));
        const clip = tf.minimum(tf.div(maxNorm, tf.add(norm, 1e-6)), 1);
        for (const { name, decay, param, m, v } of variables) {
          const grad = tf.mul(grads[name], clip);
          m.assign(tf.add(tf.mul(m, beta1), tf.mul(grad, 1 - beta1)));
          v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(grad), 1 - beta2)));
          const scale = tf.add(tf.sqrt(tf.mul(v, 1 / (1 - beta2 ** steps))), epsilon);
          const move = tf.div(tf.mul(m, learningRate / (1 - beta1 ** steps)), scale);
          param.assign(tf.sub(tf.mul(param, decay), move));
        }
        return value;
      }),
    dispose() {
      for (const { param, m, v } of variables) for (const variable of [param, m, v]) variable.dispose();
      for (const tensor of Object.values(data)) tensor.dispose();
    },
  };
}

/** Mean cross entropy of tokens that predict themselves. */
function lossOf(tf: Tf, config: LazyTransformerConfig, params: Tensors, data: Tensors): TfTensor {
  const { numLayers, numHeads, headDim, context, normEpsilon } = config;
  const rows = data.tokens.shape[0];
  const linear = (x: TfTensor, weight: TfTensor) => tf.matMul(x, tf.transpose(weight, [1, 0]));
  const norm = (x: TfTensor, weight: TfTensor) =>
    tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), normEpsilon))), weight);
  const split = (x: TfTensor) =>
    tf.transpose(tf.reshape(x, [rows / context, context, numHeads, headDim]), [0, 2, 1, 3]);
  const rope = (x: TfTensor) => {
    const [a, b] = tf.split(x, 2, 3);
    const { cos, sin } = data;
    return tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], 3);
  };
  let x = tf.matMul(data.tokens, params['model.embeddings.weight']);
  for (let layer = 0; layer < numLayers; layer++) {
    const own = (name: string) => params[`model.layers.${layer}.${name}`];
    const h = norm(x, own('attn_norm.weight'));
    const attended = lazyAttention(
      tf,
      {
        q: rope(split(linear(h, own('attn.q_proj.weight')))),
        k: rope(split(linear(h, own('attn.k_proj.weight')))),
        v: split(linear(h, own('attn.v_proj.weight'))),
        bias: own('attn.bias'),
        tau: own('attn.tau'),
      },
      data,
    );
    const joined = tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [rows, numHeads * headDim]);
    x = tf.add(x, linear(joined, own('attn.o_proj.weight')));
    const m = norm(x, own('mlp_norm.weight'));
    const gate = linear(m, own('mlp.gate_proj.weight'));
    const activated = tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(m, own('mlp.up_proj.weight')));
    x = tf.add(x, linear(activated, own('mlp.down_proj.weight')));
  }
  const logits = linear(norm(x, params['model.norm.weight']), params['lm_head.weight']);
  return tf.mul(tf.sum(tf.mul(tf.logSoftmax(logits), data.tokens)), -1 / rows);
}
