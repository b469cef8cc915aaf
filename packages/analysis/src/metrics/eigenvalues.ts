/**
 * Eigenvalues of a symmetric matrix [n, n] (row-major; its lower triangle is read and overwritten), ascending: Householder reduction to tridiagonal
 * form, then the QL algorithm with implicit Wilkinson shifts (Golub and Van Loan, Matrix Computations, 8.3).
 */
export function symmetricEigenvalues(a: Float64Array, n: number): Float64Array {
  const { diagonal, offDiagonal } = tridiagonalise(a, n);
  implicitQL(diagonal, offDiagonal);
  return diagonal.sort();
}

/** offDiagonal[i] couples i and i + 1; its last entry is 0. */
function tridiagonalise(a: Float64Array, n: number): { diagonal: Float64Array; offDiagonal: Float64Array } {
  const diagonal = new Float64Array(n);
  const offDiagonal = new Float64Array(n);
  const v = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k < n - 2; k++) {
    let norm = 0;
    for (let i = k + 1; i < n; i++) {
      v[i] = a[i * n + k];
      norm += v[i] * v[i];
    }
    norm = Math.sqrt(norm);
    if (norm === 0) continue;
    // The reflector that maps the column below the diagonal to (-sign * norm, 0, ..., 0).
    const alpha = v[k + 1] > 0 ? -norm : norm;
    v[k + 1] -= alpha;
    let vv = 0;
    for (let i = k + 1; i < n; i++) vv += v[i] * v[i];
    const beta = 2 / vv;
    // p = beta A v, from the lower triangle alone: each entry below the diagonal stands for two.
    for (let i = k + 1; i < n; i++) {
      let sum = 0;
      for (let j = k + 1; j < i; j++) {
        const value = a[i * n + j];
        sum += value * v[j];
        p[j] += value * v[i];
      }
      p[i] = sum + a[i * n + i] * v[i];
    }
    let vp = 0;
    for (let i = k + 1; i < n; i++) {
      p[i] *= beta;
      vp += v[i] * p[i];
    }
    // A - v w' - w v' with w = p - (beta v'p / 2) v is the reflected block.
    const half = (beta * vp) / 2;
    for (let i = k + 1; i < n; i++) p[i] -= half * v[i];
    for (let i = k + 1; i < n; i++) {
      for (let j = k + 1; j <= i; j++) a[i * n + j] -= v[i] * p[j] + p[i] * v[j];
    }
    a[(k + 1) * n + k] = alpha;
  }
  for (let i = 0; i < n; i++) {
    diagonal[i] = a[i * n + i];
    if (i + 1 < n) offDiagonal[i] = a[(i + 1) * n + i];
  }
  return { diagonal, offDiagonal };
}

/** In place on the diagonal; the off-diagonal is used up. */
function implicitQL(d: Float64Array, e: Float64Array): void {
  const n = d.length;
  for (let l = 0; l < n; l++) {
    for (;;) {
      // The block that starts at l ends at m, where the coupling is negligible.
      let m = l;
      while (m < n - 1 && Math.abs(e[m]) > Number.EPSILON * (Math.abs(d[m]) + Math.abs(d[m + 1]))) m++;
      if (m === l) break;
      let g = (d[l + 1] - d[l]) / (2 * e[l]);
      let r = Math.hypot(g, 1);
      g = d[m] - d[l] + e[l] / (g + (g < 0 ? -r : r));
      let s = 1;
      let c = 1;
      let p = 0;
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i];
        const b = c * e[i];
        r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1] -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (i >= l) continue; // the rotation broke off: the block has split
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
}
