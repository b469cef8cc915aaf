import { oneOf, type Random, upTo } from '../random.ts';

/** Integers at which parsers go wrong: signs, widths, and sizes that would not fit memory. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 2 ** 53, 2 ** 63];

type Mutation = (bytes: Uint8Array, random: Random) => Uint8Array;

const MUTATIONS: readonly Mutation[] = [
  function flipBit(bytes, random) {
    const at = upTo(random, bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << upTo(random, 8));
    return bytes;
  },
  function setByte(bytes, random) {
    bytes[upTo(random, bytes.length)] = upTo(random, 256);
    return bytes;
  },
  function edgeInteger(bytes, random) {
    const width = oneOf(random, [1, 2, 4, 8]);
    const at = upTo(random, Math.max(1, bytes.length - width));
    let value = BigInt(oneOf(random, EDGES)) + BigInt(upTo(random, 3) - 1);
    for (let i = 0; i < width && at + i < bytes.length; i++, value >>= 8n) bytes[at + i] = Number(value & 0xffn);
    return bytes;
  },
  function truncate(bytes, random) {
    return bytes.slice(0, upTo(random, bytes.length));
  },
  function remove(bytes, random) {
    const at = upTo(random, bytes.length);
    const count = 1 + upTo(random, Math.min(64, bytes.length - at));
    return concat(bytes.subarray(0, at), bytes.subarray(at + count));
  },
  function repeat(bytes, random) {
    const at = upTo(random, bytes.length);
    const part = bytes.subarray(at, at + 1 + upTo(random, 64));
    return concat(bytes.subarray(0, at), part, part, bytes.subarray(at + part.length));
  },
  function insert(bytes, random) {
    const at = upTo(random, bytes.length + 1);
    const noise = Uint8Array.from({ length: 1 + upTo(random, 16) }, () => upTo(random, 256));
    return concat(bytes.subarray(0, at), noise, bytes.subarray(at));
  },
  function swap(bytes, random) {
    const [a, b] = [upTo(random, bytes.length), upTo(random, bytes.length)];
    const count = upTo(random, 16);
    const part = bytes.slice(a, a + count);
    bytes.copyWithin(a, b, b + count);
    bytes.set(part.subarray(0, Math.max(0, bytes.length - b)), b);
    return bytes;
  },
];

/** One to four small mistakes in a copy of `bytes`. */
export function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array {
  let result: Uint8Array = bytes.slice();
  for (let left = 1 + upTo(random, 4); left > 0 && result.length > 0; left--) {
    result = oneOf(random, MUTATIONS)(result, random);
  }
  return result;
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
