import type { Settings } from '../engine/settings.ts';
import { type HeadView, type SideView, triangleSize } from '../engine/view.ts';

/** A training as it is shown: its losses, and what the heads did at some steps. */
export interface Record {
  readonly settings: Settings;
  /** Ids of the text that the maps are of. */
  readonly ids: readonly number[];
  /** That text, token by token. */
  readonly tokens: readonly string[];
  /** Steps at which losses were noted, and the losses of both sides. */
  readonly losses: {
    readonly steps: readonly number[];
    readonly values: readonly [readonly number[], readonly number[]];
  };
  readonly frames: readonly Frame[];
}

/** Both sides at one step; null for a kind without attention weights. */
export interface Frame {
  readonly step: number;
  readonly sides: readonly [SideView | null, SideView | null];
}

/** JSON of a record, with the maps' bytes apart. */
interface Stored extends Omit<Record, 'frames'> {
  readonly frames: readonly { step: number; sides: readonly (Omit<SideView, 'heads'> & { heads: StoredHead[] })[] }[];
}

type StoredHead = Omit<HeadView, 'weights'>;

/**
 * A record as bytes: length of the JSON (4 bytes, little-endian), the JSON, and one byte a weight: 0 where it is exactly 0, else
 * the square root in 255 steps. Biases have two decimals. Of a record whose sides both have weights.
 */
export function encodeRecord(record: Record): Uint8Array<ArrayBuffer> {
  const triangles: Uint8Array[] = [];
  const frames = record.frames.map(({ step, sides }) => ({
    step,
    sides: sides.map((side) => {
      const { heads, ...rest } = side as SideView;
      return {
        ...rounded(rest),
        heads: heads.map(({ weights, layer, head, firstTokenWeight, sparsity, tau, bias: of }) => {
          triangles.push(Uint8Array.from(weights, toByte));
          const bias = of?.map((x) => Number(x.toFixed(2))) ?? null;
          return { layer, head, ...rounded({ firstTokenWeight, sparsity }), tau: tau && round(tau), bias };
        }),
      };
    }),
  }));
  const stored: Stored = { ...record, frames };
  const json = new TextEncoder().encode(JSON.stringify(stored));
  const size = triangles.reduce((sum, { length }) => sum + length, 0);
  const bytes = new Uint8Array(4 + json.length + size);
  new DataView(bytes.buffer).setUint32(0, json.length, true);
  bytes.set(json, 4);
  let at = 4 + json.length;
  for (const triangle of triangles) {
    bytes.set(triangle, at);
    at += triangle.length;
  }
  return bytes;
}

/** Weights by their byte. */
const WEIGHTS = Float32Array.from({ length: 256 }, (_, byte) => (byte / 255) ** 2);

/** The record that was encoded, with weights to 1 part in 255 of their square root. */
export function decodeRecord(bytes: Uint8Array): Record {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const stored = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as Stored;
  const size = triangleSize(stored.tokens.length);
  let at = 4 + length;
  const next = () => {
    const weights = new Float32Array(size);
    for (let i = 0; i < size; i++) weights[i] = WEIGHTS[bytes[at + i] as number] as number;
    at += size;
    return weights;
  };
  const frames = stored.frames.map(({ step, sides }) => ({
    step,
    sides: sides.map((side) => ({
      ...side,
      heads: side.heads.map((head) => ({ ...head, weights: next() })),
    })) as unknown as [SideView, SideView],
  }));
  return { ...stored, frames };
}

function toByte(w: number): number {
  return w === 0 ? 0 : Math.max(1, Math.min(255, Math.round(255 * Math.sqrt(w))));
}

function round(x: number): number {
  return Number(x.toPrecision(4));
}

function rounded<T extends { readonly [name: string]: number }>(values: T): T {
  return Object.fromEntries(Object.entries(values).map(([name, x]) => [name, round(x)])) as T;
}
