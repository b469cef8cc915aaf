import type { Rotation } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { rotationTables } from './layer-ops.ts';

/** All layers of a step rotate alike, forward and back; decoding makes a new, small table for each token. */
const KEPT_TABLES = 4;

/** The tables used last. */
export function createRotations() {
  const kept = new Map<string, tf.Tensor4D[]>();
  return {
    tables(length: number, headDim: number, rotation: Rotation): readonly tf.Tensor4D[] {
      const key = [length, headDim, rotation.base, rotation.offset, rotation.inverse].join();
      const known = kept.get(key);
      if (known !== undefined) return known;
      if (kept.size === KEPT_TABLES) {
        const [oldest, tables] = kept.entries().next().value as [string, tf.Tensor4D[]];
        tf.dispose(tables);
        kept.delete(oldest);
      }
      const tables = rotationTables(length, headDim, rotation).map((table) => tf.keep(table));
      kept.set(key, tables);
      return tables;
    },
    dispose(): void {
      for (const tables of kept.values()) tf.dispose(tables);
      kept.clear();
    },
  };
}
