import { encodeElements, encodeSafetensorsHeader } from '@lazy-attention/nn';
import { pieces } from '../load.ts';
import { isStatistic } from '../names.ts';
import type { TensorStore } from '../tensors/store.ts';
import type { WriteDType } from './config.ts';

/** The bytes of a safetensors file, a piece of a tensor in memory at a time. `name` is of the parameter in the file. */
export async function* safetensorsChunks(
  tensors: TensorStore,
  name: (ours: string) => string,
  dtype: WriteDType,
): AsyncGenerator<Uint8Array> {
  // bias and tau are statistics: half precision would round what decides which weights are zero.
  // Sink logits are stored as the weights are, in gpt-oss too.
  const wide = (ours: string) => isStatistic(ours) && !ours.endsWith('.sink');
  const typeOf = (ours: string) => (wide(ours) && dtype !== 'f64' ? 'f32' : dtype);
  const entries = Array.from(tensors, ([ours, { shape }]) => [name(ours), { dtype: typeOf(ours), shape }] as const);
  yield encodeSafetensorsHeader(Object.fromEntries(entries), { format: 'pt' });
  for (const [ours, tensor] of tensors) {
    const type = typeOf(ours);
    for await (const { data } of pieces(tensor)) yield encodeElements(asType(data, type), type);
  }
}

/** Numbers as `encodeElements` takes them. */
function asType(data: ArrayLike<number>, dtype: WriteDType): Float32Array | Float64Array {
  if (dtype === 'f64') return data instanceof Float64Array ? data : Float64Array.from(data);
  return data instanceof Float32Array ? data : Float32Array.from(data);
}
