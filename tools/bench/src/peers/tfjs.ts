import { provider } from '@lazy-attention/backend-tfjs';
import { registerBackend } from '@lazy-attention/core';
import { lazyTransformer } from '@lazy-attention/nn';
import type { AttentionCase, Case, MatmulCase, TrainCase } from '../cases.ts';
import type { Peer, Runner } from '../peer.ts';
import { initialParams, STEPS } from '../recipe.ts';
import { provideGpu } from './gpu.ts';
import { lazyPeer } from './lazy.ts';
import { optional } from './optional.ts';
import type { Tf, TfTensor } from './tfjs/api.ts';
import { attentionTensors, lazyAttention } from './tfjs/attention.ts';
import { trainer } from './tfjs/model.ts';

/** This project on one engine of TensorFlow.js. The JavaScript engine gets small cases only. */
export function enginePeer(engine: string): Peer {
  const name = `tfjs ${engine}`;
  registerBackend({ ...provider, name, create: () => provider.create({ engine }) });
  const peer = lazyPeer(name);
  return {
    ...peer,
    async prepare(task) {
      const small = task.kind === 'attention' && task.length <= 512 && !task.backward;
      if (task.kind === 'decode' || (engine === 'cpu' && !small)) return null;
      return peer.prepare(task);
    },
  };
}

/** In Node the gradients of tfjs-core come in this package's bundle (and in that of the union package). */
const GRADIENTS = '@tensorflow/tfjs-layers';
const ENGINES = {
  wasm: { tfjsName: 'wasm', packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-wasm', GRADIENTS] },
  webgpu: {
    tfjsName: 'webgpu',
    packages: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-webgpu', GRADIENTS],
  },
  node: { tfjsName: 'tensorflow', packages: ['@tensorflow/tfjs-node', GRADIENTS] },
};

/** TensorFlow.js with an engine set and its gradients registered. */
export async function openTfjs(engine: keyof typeof ENGINES): Promise<Tf | { readonly absent: string }> {
  const { tfjsName, packages } = ENGINES[engine];
  if (engine === 'webgpu' && !(await provideGpu())) return { absent: "package 'webgpu' does not load" };
  const modules = [];
  for (const name of packages) {
    const module = await optional(name);
    if (module === null) return { absent: `package '${name}' is not installed or does not load` };
    modules.push(module);
  }
  const tf = modules[0] as unknown as Tf;
  await tf.setBackend(tfjsName);
  await tf.ready();
  return tf;
}

/** TensorFlow.js itself, its own ops composed, with its own gradients: 'wasm', 'webgpu' (Dawn) or 'node' (libtensorflow). */
export function tfjsPeer(engine: keyof typeof ENGINES): Peer {
  const { tfjsName } = ENGINES[engine];
  let tf: Tf;
  const runnerFor = async (task: Case): Promise<Runner | null> => {
    switch (task.kind) {
      case 'matmul':
        return matmulRunner(tf, task);
      case 'attention':
        // The local case is about what this project leaves out; the bias is zero here.
        return task.local === null ? attentionRunner(tf, task) : null;
      case 'train':
        return trainRunner(tf, task);
      case 'decode':
        return null;
    }
  };
  return {
    name: `TensorFlow.js ${engine}, its own ops`,
    async open() {
      const opened = await openTfjs(engine);
      if ('absent' in opened) return opened;
      tf = opened;
      return { about: `TensorFlow.js ${tf.version_core}, ${engine}` };
    },
    async prepare(task) {
      // All peers of this process share one tfjs, and another may have chosen another engine meanwhile.
      await tf.setBackend(tfjsName);
      const runner = await runnerFor(task);
      if (runner === null) return null;
      return {
        async run() {
          await tf.setBackend(tfjsName);
          return runner.run();
        },
        dispose: runner.dispose,
      };
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

function attentionRunner(tf: Tf, { batch, heads, length, headDim, window, backward }: AttentionCase): Runner {
  const shape = [batch, heads, length, headDim];
  const [q, k, v, dOutput] = [0, 1, 2, 3].map(() => tf.randomUniform(shape, -1, 1));
  const bias = tf.zeros([heads, window]);
  const tau = tf.tensor(new Float32Array(heads).fill(-1), [heads]);
  const constants = attentionTensors(tf, length);
  const inputs = [q, k, v, bias, tau];
  const forward = (...[q, k, v, bias, tau]: TfTensor[]) => lazyAttention(tf, { q, k, v, bias, tau }, constants);
  // The last gradient to be computed is as good as any to wait for: the engine works in order.
  const work = () => tf.tidy(() => (backward ? tf.grads(forward)(inputs, dOutput)[0] : forward(...inputs)));
  return runner(work, [...inputs, dOutput, ...Object.values(constants)]);
}

async function trainRunner(tf: Tf, task: TrainCase): Promise<Runner> {
  const { config } = lazyTransformer(task.model);
  const { step, dispose } = trainer(tf, task, await initialParams(config));
  return {
    async run() {
      const start = performance.now();
      for (let i = 0; i < STEPS; i++) {
        const loss = step();
        await loss.data();
        loss.dispose();
      }
      return (performance.now() - start) / STEPS;
    },
    dispose: async () => dispose(),
  };
}
