import { ceilings } from '@lazy-attention/backend-cpu';
import { parameterCount } from '@lazy-attention/nn';
import type { Peer } from '../peer.ts';

/**
 * No program but a bound: the time of reading a model's weights once from memory, which a decoded token cannot beat. As read
 * usually (the median of nine rounds, as times of programs are medians), or at best.
 */
export function streamPeer(which: 'usual' | 'best'): Peer {
  return {
    name: which === 'usual' ? 'bound: weights read once' : 'bound: weights read once, best of nine',
    open: async () => ({ about: 'memory bandwidth over as many bytes as the model has, measured in turn' }),
    async prepare(task) {
      if (task.kind !== 'decode') return null;
      const bytes = 4 * parameterCount(task.model);
      return {
        async run() {
          const { usualReadBytesPerSecond, readBytesPerSecond } = await ceilings({ bytes });
          return (bytes / (which === 'usual' ? usualReadBytesPerSecond : readBytesPerSecond)) * 1000;
        },
        dispose: async () => {},
      };
    },
    close: async () => {},
  };
}
