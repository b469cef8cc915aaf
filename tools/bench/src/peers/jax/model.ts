import { type LazyTransformerConfig, lazyTransformer } from '@lazy-attention/nn';
import type { TrainCase } from '../../cases.ts';
import { type HostParam, OPTIMIZER, ropeConstants, trainingTokens } from '../../recipe.ts';
import { type Arrays, arrayOf, disposeAll, type Jax, type JaxArray, refs } from './api.ts';
import { attentionArrays, lazyAttention } from './attention.ts';

/** packages/nn's architecture and optimiser in jax-js: one jitted step. */
export interface Trainer {
  step(): JaxArray;
  /** The parameters, for whoever waits for them. */
  params(): Arrays;
  dispose(): void;
}

export function trainer(jax: Jax, task: TrainCase, initial: readonly HostParam[]): Trainer {
  const { config } = lazyTransformer(task.model);
  const { beta1, beta2 } = OPTIMIZER;
  const { learningRate } = task;
  const { vocabSize, context, headDim, ropeBase } = config;
  const zeros = () => Object.fromEntries(initial.map(({ name, shape }) => [name, jax.numpy.zeros(shape)]));
  let params: Arrays = Object.fromEntries(
    initial.map(({ name, values, shape }) => [name, arrayOf(jax, values, shape)]),
  );
  let first: Arrays = zeros();
  let second: Arrays = zeros();
  const half = [context, headDim / 2];
  const { cos, sin } = ropeConstants(context, headDim, ropeBase);
  const data: Arrays = {
    ...attentionArrays(jax, context),
    cos: arrayOf(jax, cos, half),
    sin: arrayOf(jax, sin, half),
    // Products with one-hot rows: the gradient of a lookup would be a scatter.
    tokens: jax.nn.oneHot(jax.numpy.array(trainingTokens(task)), vocabSize),
  };
  const update = updater(jax, config, learningRate, initial);
  let steps = 0;
  return {
    step() {
      steps++;
      const rate = jax.numpy.array(learningRate / (1 - beta1 ** steps));
      const correction = jax.numpy.array(1 / (1 - beta2 ** steps));
      const { loss, ...state } = update(params, first, second, refs(data), rate, correction);
      ({ params, first, second } = state);
      return loss;
    },
    params: () => params,
    dispose() {
      disposeAll(params, first, second, data);
      update.dispose();
    },
  };
}

function updater(jax: Jax, config: LazyTransformerConfig, learningRate: number, initial: readonly HostParam[]) {
  const { numpy } = jax;
  const { beta1, beta2, epsilon, weightDecay, maxNorm } = OPTIMIZER;
  const lossAndGrads = jax.valueAndGrad((params: Arrays, data: Arrays) => lossOf(jax, config, params, data));
  return jax.jit(
    (params: Arrays, first: Arrays, second: Arrays, data: Arrays, rate: JaxArray, correction: JaxArray) => {
      const [loss, grads] = lossAndGrads(refs(params), data);
      const squares = initial.map(({ name }) => grads[name].ref.mul(grads[name].ref).sum());
      const norm = numpy.sqrt(squares.reduce((a, b) => a.add(b)));
      const clip = numpy.minimum(numpy.reciprocal(norm.add(1e-6)).mul(maxNorm), 1);
      const next = initial.map(({ name, decays }) => {
        const grad = grads[name].mul(clip.ref);
        const m = first[name].mul(beta1).add(grad.ref.mul(1 - beta1));
        const v = second[name].mul(beta2).add(grad.ref.mul(grad).mul(1 - beta2));
        const move = rate.ref.mul(m.ref).div(numpy.sqrt(v.ref.mul(correction.ref)).add(epsilon));
        return { name, m, v, param: params[name].mul(decays ? 1 - learningRate * weightDecay : 1).sub(move) };
      });
      for (const scalar of [clip, rate, correction]) scalar.dispose();
      const gather = (key: 'm' | 'v' | 'param'): Arrays =>
        Object.fromEntries(next.map((each) => [each.name, each[key]]));
      return { loss, params: gather('param'), first: gather('m'), second: gather('v') };
    },
  );
}

/** Mean cross entropy of tokens that predict themselves. Uses up its arguments. */
function lossOf(jax: Jax, config: LazyTransformerConfig, params: Arrays, data: Arrays): JaxArray {
  const { numpy, nn } = jax;
  const { numLayers, numHeads, headDim, context, normEpsilon } = config;
  const rows = data.tokens.shape[0];
  const linear = (x: JaxArray, weight: JaxArray) => numpy.matmul(x, weight.transpose());
  const norm = (x: JaxArray, weight: JaxArray) => {
    const square = x.ref.mul(x.ref).mean(-1, { keepdims: true });
    return x.mul(numpy.reciprocal(numpy.sqrt(square.add(normEpsilon)))).mul(weight);
  };
  const split = (x: JaxArray) => x.reshape([rows / context, context, numHeads, headDim]).transpose([0, 2, 1, 3]);
  const rope = (x: JaxArray) => {
    const [a, b] = numpy.split(x, 2, -1);
    const low = a.ref.mul(data.cos.ref).sub(b.ref.mul(data.sin.ref));
    return numpy.concatenate([low, b.mul(data.cos.ref).add(a.mul(data.sin.ref))], -1);
  };
  let x = numpy.matmul(data.tokens.ref, params['model.embeddings.weight']);
  for (let layer = 0; layer < numLayers; layer++) {
    const own = (name: string) => params[`model.layers.${layer}.${name}`];
    const h = norm(x.ref, own('attn_norm.weight'));
    const attended = lazyAttention(
      jax,
      {
        q: rope(split(linear(h.ref, own('attn.q_proj.weight')))),
        k: rope(split(linear(h.ref, own('attn.k_proj.weight')))),
        v: split(linear(h, own('attn.v_proj.weight'))),
        bias: own('attn.bias'),
        tau: own('attn.tau'),
      },
      data,
    );
    const joined = attended.transpose([0, 2, 1, 3]).reshape([rows, numHeads * headDim]);
    x = x.add(linear(joined, own('attn.o_proj.weight')));
    const m = norm(x.ref, own('mlp_norm.weight'));
    const gate = nn.silu(linear(m.ref, own('mlp.gate_proj.weight')));
    x = x.add(linear(gate.mul(linear(m, own('mlp.up_proj.weight'))), own('mlp.down_proj.weight')));
  }
  const logits = linear(norm(x, params['model.norm.weight']), params['lm_head.weight']);
  const loss = nn
    .logSoftmax(logits, -1)
    .mul(data.tokens.ref)
    .sum()
    .mul(-1 / rows);
  disposeAll(data);
  return loss;
}
