import type { Peer } from '../peer.ts';
import { jaxPeer } from './jax.ts';
import { lazyPeer, sinkPeer } from './lazy.ts';
import { streamPeer } from './stream.ts';
import { enginePeer, tfjsPeer } from './tfjs.ts';
import { torchPeer } from './torch.ts';

/**
 * All that can be measured beside a backend, which is the first and what the others are compared with. WebGPU has those that
 * run on the same adapter.
 */
export function allPeers(backend: string): Peer[] {
  if (backend === 'webgpu') return [lazyPeer(backend), jaxPeer('webgpu'), tfjsPeer('webgpu')];
  return [
    lazyPeer(backend),
    sinkPeer(backend),
    streamPeer('usual'),
    streamPeer('best'),
    streamPeer('fourfold'),
    torchPeer('PyTorch softmax (SDPA)', 'softmax'),
    torchPeer('PyTorch lazy, naive formula', 'lazy'),
    enginePeer('tfjs-node'),
    enginePeer('wasm'),
    tfjsPeer('wasm'),
    tfjsPeer('node'),
    jaxPeer('wasm'),
  ];
}
