/** log sum_j exp(s_j) over `count` entries from `at`, after taking the maximum out so that nothing overflows. */
export function logSumExp(s: Float64Array, at: number, count: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < count; j++) if (s[at + j] > max) max = s[at + j];
  let total = 0;
  for (let j = 0; j < count; j++) total += Math.exp(s[at + j] - max);
  return max + Math.log(total);
}

/**
 * p_j = exp(s_j - lse) over the first `count` entries, in place. spec §Forward. Divided by the sum instead of going
 * through its logarithm, so that equal scores give exactly 1/n and tau = -1 takes them to exactly zero. `sink` is the logit of
 * spec §Sink logit; what is returned is its p, exp(sink - lse).
 */
export function softmaxRow(s: Float64Array, count: number, sink = Number.NEGATIVE_INFINITY): number {
  let max = sink;
  for (let j = 0; j < count; j++) if (s[j] > max) max = s[j];
  const share = Math.exp(sink - max);
  let total = sink === Number.NEGATIVE_INFINITY ? 0 : share;
  for (let j = 0; j < count; j++) {
    s[j] = Math.exp(s[j] - max);
    total += s[j];
  }
  for (let j = 0; j < count; j++) s[j] /= total;
  return sink === Number.NEGATIVE_INFINITY ? 0 : share / total;
}

/** w_j = max(p_j + tau/n, 0): Elastic-Softmax. spec §Forward. NaN stays NaN. */
export function elasticWeight(p: number, offset: number): number {
  return Math.max(p + offset, 0);
}

/**
 * spec §Backward for one row: from p and g = dw (the gradient of the weights), both `count` long, to ds in the place
 * of g. Also gives sum_j m_j g_j, whose nth part is the row's share of dtau, and delta.
 */
export function elasticRowGrad(
  p: Float64Array,
  g: Float64Array,
  count: number,
  offset: number,
): { active: number; delta: number } {
  let delta = 0;
  let active = 0;
  for (let j = 0; j < count; j++) {
    // A weight of exactly zero is inactive, so the comparison is strict.
    if (!(p[j] + offset > 0)) g[j] = 0;
    delta += p[j] * g[j];
    active += g[j];
  }
  for (let j = 0; j < count; j++) g[j] = p[j] * (g[j] - delta);
  return { active, delta };
}
