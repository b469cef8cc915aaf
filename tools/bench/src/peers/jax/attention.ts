import { attentionConstants } from '../../recipe.ts';
import { type Arrays, arrayOf, type Jax, type JaxArray } from './api.ts';

export function attentionArrays(jax: Jax, length: number): Arrays {
  return Object.fromEntries(
    Object.entries(attentionConstants(length)).map(([name, values]) => [name, arrayOf(jax, values, [length, length])]),
  );
}

/**
 * spec §Forward, composed: q, k, v [B, H, L, D], bias [H, W], tau [H] to [B, H, L, D]. Uses up all but `constants`.
 */
export function lazyAttention(
  jax: Jax,
  { q, k, v, bias, tau }: Record<'q' | 'k' | 'v' | 'bias' | 'tau', JaxArray>,
  constants: Arrays,
): JaxArray {
  const { numpy, nn } = jax;
  const [, heads, length, dim] = q.shape;
  const scores = numpy
    .matmul(q, k.transpose([0, 1, 3, 2]))
    .mul(dim ** -0.5)
    .add(biasTable(jax, bias, length))
    .add(constants.mask.ref);
  const offsets = tau.reshape([heads, 1, 1]).mul(constants.inverseCounts.ref);
  const weights = nn.softmax(scores, -1).add(offsets);
  // Not nn.relu: its gradient at exactly 0 (the first token of a fresh model) is that of an active weight.
  return numpy.matmul(numpy.where(weights.ref.greater(0), weights, 0), v);
}

/**
 * bias [H, W] to [H, L, L] with bias[h, i - j] at (i, j) and anything above the diagonal, where the mask is. By views alone, since
 * a gather has a scatter for its gradient: a period of 2 L values, repeated and read in rows of 2 L - 1, moves by one per row.
 */
function biasTable({ numpy }: Jax, bias: JaxArray, length: number): JaxArray {
  const [heads, window] = bias.shape;
  const width = Math.min(window, length);
  const period = 2 * length;
  const near = bias.slice([], [0, width]);
  const parts = [near.ref.slice([], [0, 1]), numpy.zeros([heads, period - width])];
  const far = near.slice([], [1, width]);
  const around = numpy.concatenate([...parts, numpy.flip(far, 1)], 1);
  return numpy
    .broadcastTo(around.reshape([heads, 1, period]), [heads, length, period])
    .reshape([heads, length * period])
    .slice([], [0, length * (period - 1)])
    .reshape([heads, length, period - 1])
    .slice([], [], [0, length]);
}
