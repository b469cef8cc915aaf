import { fileURLToPath } from 'node:url';
import { lazyTransformer } from '@lazy-attention/nn';
import type { Case } from '../cases.ts';
import type { Peer } from '../peer.ts';
import { remoteRunner, type Server, startServer } from './server.ts';

const PROGRAM = fileURLToPath(new URL('../../src/peers/torch_peer.py', import.meta.url));

/**
 * PyTorch in a Python of its own (LAZY_ATTENTION_PYTHON, else python3), which torch_peer.py serves line by line. With
 * 'softmax' its attention is `scaled_dot_product_attention`, with 'lazy' the naive formula of spec §Forward.
 */
export function torchPeer(name: string, attention: 'softmax' | 'lazy'): Peer {
  let python: Server | null = null;
  return {
    name,
    async open() {
      const command = process.env.LAZY_ATTENTION_PYTHON ?? 'python3';
      python = await startServer(command, [PROGRAM]);
      const { hello } = python;
      if (hello === null) return { absent: `${command} cannot run torch_peer.py` };
      if (typeof hello.absent === 'string') return { absent: hello.absent };
      return { about: `PyTorch ${hello.version}, ${hello.threads} threads` };
    },
    async prepare(task) {
      if (python === null) throw new Error('not open');
      // Products do not depend on the kind of attention: one of the two peers does them.
      if (task.kind === 'matmul' && attention === 'lazy') return null;
      if (task.kind === 'decode') return null;
      return remoteRunner(python, { attention, ...described(task) });
    },
    close: async () => python?.stop(),
  };
}

function described(task: Case): object {
  return task.kind === 'train' ? { ...task, model: lazyTransformer(task.model).config } : task;
}
