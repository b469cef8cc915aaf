import { provider } from '@lazy-attention/backend-tfjs';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url';

/** tfjs's WebAssembly engine. All browsers of today have SIMD; threads would ask for headers that a static host has not. */
export async function prepareWasm(): Promise<typeof provider> {
  setWasmPaths({
    'tfjs-backend-wasm-simd.wasm': simd,
    'tfjs-backend-wasm.wasm': simd,
    'tfjs-backend-wasm-threaded-simd.wasm': simd,
  });
  return provider;
}
