import { attentionConstants } from '../../recipe.ts';
import type { Tensors, Tf, TfTensor } from './api.ts';

export function attentionTensors(tf: Tf, length: number): Tensors {
  return Object.fromEntries(
    Object.entries(attentionConstants(length)).map(([name, values]) => [name, tf.tensor(values, [length, length])]),
  );
}

/** spec §Forward, composed: q, k, v [B, H, L, D], bias [H, W], tau [H] to [B, H, L, D]. */
export function lazyAttention(
  tf: Tf,
  { q, k, v, bias, tau }: Record<'q' | 'k' | 'v' | 'bias' | 'tau', TfTensor>,
  { mask, inverseCounts }: Tensors,
): TfTensor {
  const [, heads, length, dim] = q.shape;
  const scores = tf.add(
    tf.mul(tf.matMul(q, tf.transpose(k, [0, 1, 3, 2])), dim ** -0.5),
    tf.add(biasTable(tf, bias, length), mask),
  );
  const offsets = tf.mul(tf.reshape(tau, [heads, 1, 1]), inverseCounts);
  return tf.matMul(tf.relu(tf.add(tf.softmax(scores), offsets)), v);
}

/**
 * bias [H, W] to [H, L, L] with bias[h, i - j] at (i, j) and anything above the diagonal, where the mask is. Without a gather, whose
 * gradient the wasm engine lacks: a period of 2 L values, repeated and read in rows of 2 L - 1, moves by one per row.
 */
function biasTable(tf: Tf, bias: TfTensor, length: number): TfTensor {
  const [heads, window] = bias.shape;
  const width = Math.min(window, length);
  const period = 2 * length;
  const nearest = tf.slice(bias, [0, 0], [heads, 1]);
  const others = tf.reverse(tf.slice(bias, [0, 1], [heads, width - 1]), 1);
  const around = tf.concat([nearest, tf.zeros([heads, period - width]), others], 1);
  const repeated = tf.mul(tf.reshape(around, [heads, 1, period]), tf.ones([1, length, 1]));
  const cut = tf.slice(tf.reshape(repeated, [heads, length * period]), [0, 0], [heads, length * (period - 1)]);
  return tf.slice(tf.reshape(cut, [heads, length, period - 1]), [0, 0, 0], [heads, length, length]);
}
