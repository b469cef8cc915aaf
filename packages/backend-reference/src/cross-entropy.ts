import { type CrossEntropyProblem, statisticsDType } from '@lazy-attention/core';
import { logSumExp } from './softmax.ts';
import { type Buffer, type RefTensor, store, values } from './storage.ts';

/** Mean over the rows that count of lse(row) - row[target]. */
export function crossEntropy(
  logits: RefTensor,
  targets: RefTensor,
  options: CrossEntropyProblem,
): { loss: Buffer; lse: Buffer } {
  const [rows, vocabulary] = logits.shape;
  const x = values(logits);
  const lse = new Float64Array(rows);
  let total = 0;
  for (let i = 0; i < rows; i++) {
    lse[i] = logSumExp(x, i * vocabulary, vocabulary);
    const target = targets.buffer[i];
    if (target !== options.ignoreIndex) total += lse[i] - x[i * vocabulary + target];
  }
  const dtype = statisticsDType(logits.dtype);
  return { loss: store(Float64Array.of(total / options.count), dtype), lse: store(lse, dtype) };
}

/** dlogits = dloss / count (softmax(row) - onehot(target)); ignored rows get 0. */
export function crossEntropyGrad(
  dLoss: RefTensor,
  logits: RefTensor,
  targets: RefTensor,
  lse: RefTensor,
  options: CrossEntropyProblem,
): Buffer {
  const [rows, vocabulary] = logits.shape;
  const x = values(logits);
  const lses = values(lse);
  const dlogits = new Float64Array(x.length);
  const share = dLoss.buffer[0] / options.count;
  for (let i = 0; i < rows; i++) {
    const target = targets.buffer[i];
    if (target === options.ignoreIndex) continue;
    const at = i * vocabulary;
    for (let c = 0; c < vocabulary; c++) dlogits[at + c] = share * Math.exp(x[at + c] - lses[i]);
    dlogits[at + target] -= share;
  }
  return store(dlogits, logits.dtype);
}
