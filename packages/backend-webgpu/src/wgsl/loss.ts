import type { Typed } from './elementwise.ts';
import { kernel, read, write } from './kernel.ts';
import { EXPONENTIAL, poisoned, poisonOf } from './numbers.ts';
import { EACH_OF_ROW, ROW } from './row.ts';
import { softmaxOfRow } from './softmax.ts';

/** lse of each row, and its loss lse - logits[target] (0 in ignored rows). `ignoreIndex` is an i32 by its bits. */
export const crossEntropyRows = kernel({
  name: 'crossEntropy',
  params: { rows: 'u32', width: 'u32', ignoreIndex: 'u32' },
  text: ({ type }: Typed) => ({
    buffers: { logits: read(type), targets: read('i32'), lse: write('f32'), losses: write('f32') },
    workgroupSize: 'row',
    reductions: ['total', 'largest'],
    body: `
      ${ROW}
      ${softmaxOfRow('f32(logits[base + j])', '0u', 'params.width')}
      if (lane == 0u) {
        let logSum = log(sum);
        let wanted = targets[row];
        lse[row] = ${poisoned('(top + logSum)', 'poison')};
        var loss = 0.0;
        if (wanted != bitcast<i32>(params.ignoreIndex)) {
          loss = ${poisoned('((top - f32(logits[base + u32(wanted)])) + logSum)', 'poison')};
        }
        losses[row] = loss;
      }`,
  }),
});

/** dlogits = dloss / count * (exp(logits - lse) - onehot); 0 in ignored rows. */
export const crossEntropyGrad = kernel({
  name: 'crossEntropyGrad',
  params: { rows: 'u32', width: 'u32', ignoreIndex: 'u32', inverseCount: 'f32' },
  text: ({ type }: Typed) => ({
    buffers: { dLoss: read('f32'), logits: read(type), targets: read('i32'), lse: read('f32'), dlogits: write(type) },
    workgroupSize: 'row',
    declarations: EXPONENTIAL,
    body: `
      ${ROW}
      let wanted = targets[row];
      let ignored = wanted == bitcast<i32>(params.ignoreIndex);
      let factor = dLoss[0] * params.inverseCount;
      let rowLse = lse[row];
      let poison = ${poisonOf('rowLse')};
      ${EACH_OF_ROW} {
        let p = ${poisoned('exponential(f32(logits[base + j]), rowLse)', 'poison')};
        let gradient = factor * (p - select(0.0, 1.0, i32(j) == wanted));
        dlogits[base + j] = ${type}(select(gradient, 0.0, ignored));
      }`,
  }),
});
