import { fileURLToPath } from 'node:url';
import type { Peer } from '../peer.ts';
import { remoteRunner, type Server, startServer } from './server.ts';

const PROGRAM = fileURLToPath(new URL('./jax/program.js', import.meta.url));
/** jax-js uses iterator helpers and relaxed SIMD, which Node 20 has behind flags and newer versions without. */
export const FLAGS: readonly string[] = process.versions.node.startsWith('20.')
  ? ['--harmony-iterator-helpers', '--experimental-wasm-relaxed-simd']
  : [];

/**
 * jax-js, on WebAssembly with threads or on WebGPU through Dawn, in a Node of its own, since it needs flags and globals of
 * browsers.
 */
export function jaxPeer(device: 'wasm' | 'webgpu'): Peer {
  let server: Server | null = null;
  return {
    name: `jax-js ${device}`,
    async open() {
      server = await startServer(process.execPath, [...FLAGS, PROGRAM, device]);
      const { hello } = server;
      if (hello === null) return { absent: 'its process ended at the start' };
      if (typeof hello.absent === 'string') return { absent: hello.absent };
      return { about: `jax-js ${hello.version}, ${device === 'wasm' ? `wasm, ${hello.threads} threads` : device}` };
    },
    async prepare(task) {
      if (server === null) throw new Error('not open');
      // The local case is about what this project leaves out; the bias is zero here.
      const absent = task.kind === 'decode' || (task.kind === 'attention' && task.local !== null);
      return absent ? null : remoteRunner(server, task);
    },
    close: async () => server?.stop(),
  };
}
