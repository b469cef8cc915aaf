import type { Random } from '../random.ts';
import { mutateJson } from './json.ts';

/** A copy of a safetensors file with values of its header changed, and the length before it as it must be; null when it has none. */
export function mutateHeader(bytes: Uint8Array, random: Random): Uint8Array | null {
  if (bytes.length < 8) return null;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = mutateJson(new TextDecoder().decode(bytes.subarray(8, 8 + length)), random);
  if (header === null) return null;
  const text = new TextEncoder().encode(header);
  const data = bytes.subarray(8 + length);
  const made = new Uint8Array(8 + text.length + data.length);
  new DataView(made.buffer).setUint32(0, text.length, true);
  made.set(text, 8);
  made.set(data, 8 + text.length);
  return made;
}
