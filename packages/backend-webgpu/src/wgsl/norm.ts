import { ELEMENTWISE_THREADS, type Typed } from './elementwise.ts';
import { kernel, read, write } from './kernel.ts';
import { EACH_OF_ROW, ROW } from './row.ts';

const NORM_PARAMS = { rows: 'u32', width: 'u32', epsilon: 'f32' } as const;

/** y = x / sqrt(mean(x^2) + epsilon) * weight. */
export const rmsNorm = kernel({
  name: 'rmsNorm',
  params: NORM_PARAMS,
  text: ({ type }: Typed) => ({
    buffers: { x: read(type), weight: read(type), y: write(type) },
    workgroupSize: 'row',
    reductions: ['total'],
    body: `
      ${ROW}
      var squares = 0.0;
      ${EACH_OF_ROW} {
        let value = f32(x[base + j]);
        squares += value * value;
      }
      let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);
      ${EACH_OF_ROW} {
        y[base + j] = ${type}(f32(x[base + j]) * factor * f32(weight[j]));
      }`,
  }),
});

/** With f = 1 / sqrt(mean(x^2) + epsilon): dx = f dy w - x f^3 mean(dy w x). Also keeps f of each row, for dweight. */
export const rmsNormGradInput = kernel({
  name: 'rmsNormGrad/input',
  params: NORM_PARAMS,
  text: ({ type }: Typed) => ({
    buffers: { dy: read(type), x: read(type), weight: read(type), dx: write(type), factors: write('f32') },
    workgroupSize: 'row',
    reductions: ['total'],
    body: `
      ${ROW}
      var squares = 0.0;
      var products = 0.0;
      ${EACH_OF_ROW} {
        let value = f32(x[base + j]);
        squares += value * value;
        products += f32(dy[base + j]) * f32(weight[j]) * value;
      }
      let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);
      let pull = total(products, lane) / f32(params.width) * factor * factor;
      ${EACH_OF_ROW} {
        dx[base + j] = ${type}(factor * (f32(dy[base + j]) * f32(weight[j]) - f32(x[base + j]) * pull));
      }
      if (lane == 0u) { factors[row] = factor; }`,
  }),
});

/** Part of dweight = sum over rows of dy x f: a column per invocation, `rowsPerGroup` rows per workgroup in y. */
export const rmsNormGradWeight = kernel({
  name: 'rmsNormGrad/weight',
  params: { rows: 'u32', width: 'u32', rowsPerGroup: 'u32' },
  text: ({ type }: Typed) => ({
    buffers: { dy: read(type), x: read(type), factors: read('f32'), partial: write('f32') },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      let j = group.x * ${ELEMENTWISE_THREADS}u + lane;
      if (j >= params.width) { return; }
      let first = group.y * params.rowsPerGroup;
      let end = min(first + params.rowsPerGroup, params.rows);
      var sum = 0.0;
      for (var r = first; r < end; r++) {
        sum += f32(dy[r * params.width + j]) * f32(x[r * params.width + j]) * factors[r];
      }
      partial[group.y * params.width + j] = sum;`,
  }),
});
