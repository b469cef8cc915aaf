/** Metrics of one head from its dense weights, written from docs/metrics.md without a thought for speed. */
export interface DenseHead {
  readonly weights: readonly (readonly number[])[];
  readonly starts: readonly number[];
}

/** Splits [B, H, L, S] into the dense heads of head `h`, one per sequence. */
export function denseHeads(
  w: ArrayLike<number>,
  [batch, heads, rows, keys]: readonly number[],
  h: number,
  starts?: ArrayLike<number>,
): DenseHead[] {
  return Array.from({ length: batch }, (_, b) => ({
    weights: Array.from({ length: rows }, (_, r) =>
      Array.from({ length: keys }, (_, j) => w[((b * heads + h) * rows + r) * keys + j]),
    ),
    starts: Array.from({ length: rows }, (_, r) => starts?.[b * rows + r] ?? 0),
  }));
}

export function denseMetrics(sequences: readonly DenseHead[], tau: number) {
  const rows = sequences.flatMap(({ weights, starts }) =>
    weights.map((row, r) => row.slice(starts[r], r + row.length - weights.length + 1)),
  );
  const masses = rows.map((row) => total(row));
  const entropies = rows.flatMap((row, n) =>
    masses[n] > 0 ? [total(row.map((w) => (w > 0 ? -(w / masses[n]) * Math.log(w / masses[n]) : 0)))] : [],
  );
  const reach = (k: number) => rows.filter((row) => row.length > k);
  const withMass = (k: number) => reach(k).filter((row) => total(row) > 0);
  const longest = Math.max(...rows.map((row) => row.length));
  const followed = Array.from({ length: longest }, (_, k) => k).filter((k) => 2 * reach(k).length >= rows.length);
  const columns = followed.map((k) => mean(reach(k).map((row) => row[k])));
  const strongest = columns.indexOf(Math.max(...columns));
  return {
    strongestPosition: strongest,
    strongestPositionWeight: columns[strongest],
    survivingMass: mean(rows.map((row) => total(row.map((w) => (w > 0 ? w - tau / row.length : 0))))),
    sparsity: rows.flat().filter((w) => w === 0).length / rows.flat().length,
    rowMass: mean(masses),
    emptyRows: masses.filter((mass) => mass === 0).length / rows.length,
    entropy: mean(entropies),
    positionWeights: [0, 1, 2, 3].map((k) => mean(reach(k).map((row) => row[k]))),
    positionWeightsNormalised: [0, 1, 2, 3].map((k) => mean(withMass(k).map((row) => row[k] / total(row)))),
  };
}

/** Norm of the values at a position over that of all, from one list of [position, vector] per token. */
export function denseValueNormRatio(
  tokens: readonly (readonly [number, readonly number[]])[],
  position: number,
): number {
  const norms = tokens.map(([at, vector]) => [at, Math.hypot(...vector)] as const);
  const mean0 = mean(norms.filter(([at]) => at === position).map(([, norm]) => norm));
  return mean0 / mean(norms.map(([, norm]) => norm));
}

/** Looks at every tile of every sequence, pair by pair. */
export function denseInactiveTiles(sequences: readonly DenseHead[], size: number): number {
  let tiles = 0;
  let inactive = 0;
  for (const { weights, starts } of sequences) {
    const keys = weights[0].length;
    const offset = keys - weights.length;
    for (let a = 0; a * size < keys; a++) {
      for (let b = 0; b * size < keys; b++) {
        const pairs: number[] = [];
        for (let i = Math.max(offset, a * size); i < Math.min(keys, (a + 1) * size); i++) {
          for (let j = b * size; j < Math.min(keys, (b + 1) * size); j++) {
            if (j <= i && j >= starts[i - offset]) pairs.push(weights[i - offset][j]);
          }
        }
        if (pairs.length === 0) continue;
        tiles++;
        if (pairs.every((w) => w === 0)) inactive++;
      }
    }
  }
  return inactive / tiles;
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : total(values) / values.length;
}
