import type { Peer } from '../peer.ts';
import { jaxPeer } from './jax.ts';
import { lazyPeer } from './lazy.ts';
import { streamPeer } from './stream.ts';
import { enginePeer, tfjsPeer } from './tfjs.ts';
import { torchPeer } from './torch.ts';

/** All that can be measured. The first is what the others are compared with. */
export function allPeers(backend: string): Peer[] {
  return [
    lazyPeer(backend),
    streamPeer(),
    torchPeer('PyTorch softmax (SDPA)', 'softmax'),
    torchPeer('PyTorch lazy, naive formula', 'lazy'),
    enginePeer('tfjs-node'),
    enginePeer('wasm'),
    tfjsPeer('wasm'),
    tfjsPeer('node'),
    jaxPeer(),
  ];
}
