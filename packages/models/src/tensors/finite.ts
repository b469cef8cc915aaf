import type { TensorData } from '@lazy-attention/core';
import { ModelError } from '../errors.ts';

/** Weights that are no numbers would come out as logits that are none. @throws ModelError MODEL_CORRUPT */
export function checkFinite(file: string, name: string, data: TensorData): void {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i] * 0; // NaN as soon as one is not finite
  if (sum === 0) return;
  const bad = data.find((x) => !Number.isFinite(x));
  throw new ModelError('MODEL_CORRUPT', file, `a weight of '${name}' is ${bad}; expected finite numbers`);
}
