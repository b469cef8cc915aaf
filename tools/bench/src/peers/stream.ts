import { ceilings } from '@lazy-attention/backend-cpu';
import { parameterCount } from '@lazy-attention/nn';
import type { Peer } from '../peer.ts';

/** No program but a bound: the time of reading a model's weights once from memory, which a decoded token cannot beat. */
export function streamPeer(): Peer {
  return {
    name: 'bound: weights read once',
    open: async () => ({ about: 'memory bandwidth over as many bytes as the model has, measured in turn' }),
    async prepare(task) {
      if (task.kind !== 'decode') return null;
      const bytes = 4 * parameterCount(task.model);
      return {
        run: async () => (bytes / (await ceilings({ bytes })).readBytesPerSecond) * 1000,
        dispose: async () => {},
      };
    },
    close: async () => {},
  };
}
