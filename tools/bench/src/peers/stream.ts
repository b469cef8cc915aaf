import { type Ceilings, ceilings } from '@lazy-attention/backend-cpu';
import { parameterCount } from '@lazy-attention/nn';
import type { Peer } from '../peer.ts';

/**
 * No program but a bound: the time of reading a model's weights once from memory, which a decoded token cannot beat. As read
 * usually (the median of nine rounds, as times of programs are medians), or at best, each thread from front to back; or usually,
 * each thread in four places at a time, which is the fastest that we know.
 */
const BOUNDS = {
  usual: ['bound: weights read once', 'usualReadBytesPerSecond'],
  best: ['bound: weights read once, best of nine', 'readBytesPerSecond'],
  fourfold: ['bound: weights read once, in four places', 'usualFourfoldReadBytesPerSecond'],
} as const satisfies Record<string, readonly [name: string, ceiling: keyof Ceilings]>;

export function streamPeer(which: keyof typeof BOUNDS): Peer {
  const [name, ceiling] = BOUNDS[which];
  return {
    name,
    open: async () => ({ about: 'memory bandwidth over as many bytes as the model has, measured in turn' }),
    async prepare(task) {
      if (task.kind !== 'decode') return null;
      const bytes = 4 * parameterCount(task.model);
      return {
        run: async () => (bytes / (await ceilings({ bytes }))[ceiling]) * 1000,
        dispose: async () => {},
      };
    },
    close: async () => {},
  };
}
