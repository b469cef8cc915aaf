import type { AttentionCase, MatmulCase } from '../cases.ts';
import type { Peer, Runner } from '../peer.ts';
import { optional } from './optional.ts';

/** The little of TensorFlow.js that is called here. */
interface Tf {
  readonly version_core: string;
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  randomUniform(shape: number[], low: number, high: number): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA: boolean, transposeB: boolean): TfTensor;
  softmax(x: TfTensor): TfTensor;
  relu(x: TfTensor): TfTensor;
  add(a: TfTensor, b: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor | number): TfTensor;
  tensor(data: Float32Array, shape: number[]): TfTensor;
  tidy<T>(fn: () => T): T;
}

interface TfTensor {
  data(): Promise<unknown>;
  dispose(): void;
}

/** TensorFlow.js itself, its own ops composed: 'wasm' or 'node' (libtensorflow). Matrix products and attention forward. */
export function tfjsPeer(engine: 'wasm' | 'node'): Peer {
  let tf: Tf;
  return {
    name: `tfjs ${engine}`,
    async open() {
      const name = engine === 'node' ? '@tensorflow/tfjs-node' : '@tensorflow/tfjs-core';
      const module = await optional(name);
      if (module === null) return { absent: `package '${name}' is not installed or does not load` };
      tf = module as unknown as Tf;
      if (engine === 'wasm') {
        const wasm = '@tensorflow/tfjs-backend-wasm';
        if ((await optional(wasm)) === null) return { absent: `package '${wasm}' is not installed` };
        await tf.setBackend('wasm');
      }
      await tf.ready();
      return { about: `TensorFlow.js ${tf.version_core}, ${engine}` };
    },
    async prepare(task) {
      if (task.kind === 'matmul') return matmulRunner(tf, task);
      return task.kind === 'attention' && !task.backward ? attentionRunner(tf, task) : null;
    },
    close: async () => {},
  };
}

function runner(work: () => TfTensor, inputs: TfTensor[]): Runner {
  return {
    async run() {
      const start = performance.now();
      const result = work();
      await result.data();
      const time = performance.now() - start;
      result.dispose();
      return time;
    },
    async dispose() {
      for (const tensor of inputs) tensor.dispose();
    },
  };
}

function matmulRunner(tf: Tf, { m, n, k, transposeA, transposeB }: MatmulCase): Runner {
  const a = tf.randomUniform(transposeA ? [k, m] : [m, k], -1, 1);
  const b = tf.randomUniform(transposeB ? [n, k] : [k, n], -1, 1);
  return runner(() => tf.matMul(a, b, transposeA, transposeB), [a, b]);
}

/** The naive formula, with the mask and tau / n as constants. */
function attentionRunner(tf: Tf, { batch, heads, length, headDim }: AttentionCase): Runner {
  const shape = [batch, heads, length, headDim];
  const [q, k, v] = [0, 1, 2].map(() => tf.randomUniform(shape, -1, 1));
  const causal = (at: (row: number, key: number) => number) => {
    const values = new Float32Array(length * length);
    for (let row = 0; row < length; row++)
      for (let key = 0; key < length; key++) values[row * length + key] = at(row, key);
    return tf.tensor(values, [1, 1, length, length]);
  };
  const mask = causal((row, key) => (key <= row ? 0 : -1e9));
  const offset = causal((row, key) => (key <= row ? -1 / (row + 1) : 0));
  const work = () =>
    tf.tidy(() => {
      const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), headDim ** -0.5), mask);
      return tf.matMul(tf.relu(tf.add(tf.softmax(scores), offset)), v, false, false);
    });
  return runner(work, [q, k, v, mask, offset]);
}
