import type { Backend, Tensor } from '@lazy-attention/core';

const [B, L, S, H, D, W] = [1, 70, 73, 2, 8, 40] as const;
const OPERANDS = {
  q: [B, L, H, D],
  k: [B, S, H, D],
  v: [B, S, H, D],
  bias: [H, W],
  tau: [H],
  scores: [B, H, L, S],
  grads: [B, H, L, S],
  dOutput: [B, L, H, D],
  logits: [L, S],
} as const;
type Name = keyof typeof OPERANDS;
type Results = Record<string, Float32Array>;

const countOf = (name: Name): number => (OPERANDS[name] as readonly number[]).reduce((a, b) => a * b);

/** Everything with a softmax in it, with `value` at one place of `bad`, or all over `bad` where `all` is set. */
async function results(on: Backend, bad: Name, value: number, all: boolean, withTau: boolean): Promise<Results> {
  const tensor = (name: Name): Tensor => {
    const values = Float32Array.from({ length: countOf(name) }, (_, i) => Math.sin(i * 1.7 + name.length));
    if (name === bad) values.fill(value, all ? 0 : values.length >> 1, all ? values.length : (values.length >> 1) + 1);
    return on.tensor(values, OPERANDS[name]);
  };
  const [q, k, v, bias, logits, scores] = (['q', 'k', 'v', 'bias', 'logits', 'scores'] as const).map(tensor);
  const tau = withTau ? { tau: tensor('tau') } : {};
  const options = { bias, ...tau };
  const { output, saved } = on.attention(q, k, v, options);
  const lastQuery = on.slice(q, 1, L - 1, L);
  const targets = on.tensor(
    Int32Array.from({ length: L }, (_, i) => i),
    [L],
    'i32',
  );
  const loss = on.crossEntropy(logits, targets);
  const dLoss = on.full([], 1);
  const tensors: Record<string, Tensor | undefined> = {
    output,
    ...on.attentionGrad(tensor('dOutput'), saved),
    decoded: on.attention(lastQuery, k, v, { ...options, save: false }).output,
    weights: on.attentionWeights(q, k, options),
    elastic: on.elasticSoftmax(scores, tau),
    ...on.elasticSoftmaxGrad(tensor('grads'), scores, tau),
    loss: loss.loss,
    dlogits: on.crossEntropyGrad(dLoss, logits, targets, loss.lse),
  };
  const read: Results = {};
  for (const [name, each] of Object.entries(tensors)) if (each) read[name] = (await each.data()) as Float32Array;
  return read;
}

/**
 * Results of `on` that are numbers where the oracle's are none, as lines for people. Beside that, a mask of -Infinity has to
 * give the oracle's zeros.
 */
export async function hiddenNumbers(on: Backend, oracle: Backend): Promise<string[]> {
  const found: string[] = [];
  const compare = async (bad: Name, value: number, all: boolean, withTau: boolean): Promise<void> => {
    const [actual, expected] = [
      await results(on, bad, value, all, withTau),
      await results(oracle, bad, value, all, withTau),
    ];
    for (const [name, values] of Object.entries(expected)) {
      const hidden = values.filter((each, i) => Number.isNaN(each) && !Number.isNaN(actual[name][i])).length;
      const masked = values.filter((each, i) => each === 0 && value === -Infinity && actual[name][i] > 0).length;
      if (hidden + masked > 0) {
        found.push(`${bad} ${value}, tau ${withTau}, ${name}: ${hidden} NaN hidden, ${masked} masked not 0`);
      }
    }
  };
  for (const withTau of [false, true]) {
    for (const bad of ['q', 'k', 'v', 'bias', 'scores', 'logits', 'dOutput', 'grads'] as const) {
      for (const value of [Number.NaN, Infinity, -Infinity]) await compare(bad, value, false, withTau);
    }
    for (const bad of ['bias', 'scores', 'logits'] as const) await compare(bad, -Infinity, true, withTau);
  }
  for (const value of [Number.NaN, Infinity, -Infinity]) await compare('tau', value, false, true);
  return found;
}
