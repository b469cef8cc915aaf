import { type Buffer, type RefTensor, store, values } from './storage.ts';

/** y = x r w, with r = 1 / sqrt(mean(x^2) + epsilon) for each row. */
export function rmsNorm(x: RefTensor, weight: RefTensor, epsilon: number): Buffer {
  const [rows, width] = x.shape;
  const xs = values(x);
  const w = values(weight);
  const y = new Float64Array(xs.length);
  for (let i = 0; i < rows; i++) {
    const at = i * width;
    const r = inverseRms(xs, at, width, epsilon);
    for (let c = 0; c < width; c++) y[at + c] = xs[at + c] * r * w[c];
  }
  return store(y, x.dtype);
}

/** dx = r (dy w - x r^2 mean(dy w x)) for each row; dw = sum over rows of dy x r. */
export function rmsNormGrad(
  dy: RefTensor,
  x: RefTensor,
  weight: RefTensor,
  epsilon: number,
): { dx: Buffer; dweight: Buffer } {
  const [rows, width] = x.shape;
  const dys = values(dy);
  const xs = values(x);
  const w = values(weight);
  const dx = new Float64Array(xs.length);
  const dweight = new Float64Array(width);
  for (let i = 0; i < rows; i++) {
    const at = i * width;
    const r = inverseRms(xs, at, width, epsilon);
    let mean = 0;
    for (let c = 0; c < width; c++) mean += dys[at + c] * w[c] * xs[at + c];
    mean /= width;
    for (let c = 0; c < width; c++) {
      dx[at + c] = r * (dys[at + c] * w[c] - xs[at + c] * r * r * mean);
      dweight[c] += dys[at + c] * xs[at + c] * r;
    }
  }
  return { dx: store(dx, x.dtype), dweight: store(dweight, weight.dtype) };
}

function inverseRms(x: Float64Array, at: number, width: number, epsilon: number): number {
  let squares = 0;
  for (let c = 0; c < width; c++) squares += x[at + c] * x[at + c];
  return 1 / Math.sqrt(squares / width + epsilon);
}
