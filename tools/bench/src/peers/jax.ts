import type { MatmulCase } from '../cases.ts';
import type { Peer, Runner } from '../peer.ts';
import { optional } from './optional.ts';

/** The little of jax-js that is called here. */
interface Jax {
  init(device?: string): Promise<unknown>;
  defaultDevice(device: string): unknown;
  readonly numpy: {
    array(data: Float32Array): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
  };
}

interface JaxArray {
  readonly ref: JaxArray;
  reshape(shape: number[]): JaxArray;
  transpose(): JaxArray;
  data(): Promise<unknown>;
  dispose(): void;
}

/** jax-js on WebAssembly. Needs Node flags that the package's documentation gives; absent where it does not load. */
export function jaxPeer(): Peer {
  let jax: Jax;
  return {
    name: 'jax-js wasm',
    async open() {
      const module = await optional('@jax-js/jax');
      if (module === null) return { absent: "package '@jax-js/jax' is not installed or does not load on this Node" };
      jax = module as unknown as Jax;
      await jax.init('wasm');
      jax.defaultDevice('wasm');
      return { about: 'jax-js, wasm' };
    },
    prepare: async (task) => (task.kind === 'matmul' ? matmulRunner(jax, task) : null),
    close: async () => {},
  };
}

function matmulRunner({ numpy }: Jax, { m, n, k, transposeA, transposeB }: MatmulCase): Runner {
  const random = (rows: number, columns: number) =>
    numpy.array(Float32Array.from({ length: rows * columns }, () => Math.random() * 2 - 1)).reshape([rows, columns]);
  const a = transposeA ? random(k, m) : random(m, k);
  const b = transposeB ? random(n, k) : random(k, n);
  return {
    async run() {
      const start = performance.now();
      // An operand is used up by what it is given to, unless it is given as a reference.
      const product = numpy.matmul(transposeA ? a.ref.transpose() : a.ref, transposeB ? b.ref.transpose() : b.ref);
      await product.data();
      return performance.now() - start;
    },
    async dispose() {
      a.dispose();
      b.dispose();
    },
  };
}
