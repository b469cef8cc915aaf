import { type Backend, createBackend, type Tensor } from '@lazy-attention/core';
import {
  adamW,
  batchTensors,
  disposeParams,
  generate,
  type LazyTransformer,
  lazyTransformer,
  type Params,
  valueAndGrad,
} from '@lazy-attention/nn';
import type { AttentionCase, Case, DecodeCase, MatmulCase, TrainCase } from '../cases.ts';
import type { Peer, Runner } from '../peer.ts';
import { OPTIMIZER, STEPS, trainingTokens } from '../recipe.ts';

/** This project on one of its backends. */
export function lazyPeer(name: string): Peer {
  let backend: Backend;
  return {
    name: `lazy-attention ${name}`,
    async open() {
      try {
        backend = await createBackend(name);
        return { about: backend.device };
      } catch (error) {
        return { absent: error instanceof Error ? error.message : String(error) };
      }
    },
    async prepare(task: Case) {
      // The other backends have benchmarks of their own; here they are peers where one is asked for.
      switch (task.kind) {
        case 'matmul':
          return matmulRunner(backend, task);
        case 'attention':
          return attentionRunner(backend, task, null);
        case 'train':
          return trainRunner(backend, task);
        case 'decode':
          return decodeRunner(backend, task);
      }
    },
    close: async () => backend?.dispose(),
  };
}

/** The same attention with a sink logit for each head, and nothing else: what a sink costs. */
export function sinkPeer(name: string): Peer {
  const peer = lazyPeer(name);
  let backend: Backend;
  return {
    ...peer,
    name: `${peer.name} with a sink`,
    async open() {
      backend = await createBackend(name);
      return { about: backend.device };
    },
    prepare: async (task: Case) => (task.kind === 'attention' ? attentionRunner(backend, task, 0) : null),
    close: async () => backend?.dispose(),
  };
}

function random(backend: Backend, shape: readonly number[]): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return backend.tensor(
    Float32Array.from({ length: size }, () => Math.random() * 2 - 1),
    shape,
  );
}

/** Launches `work` and waits until the device has done it. */
function timed(backend: Backend, work: () => Tensor, inputs: readonly Tensor[]): Runner {
  const one = backend.tensor(new Float32Array(1), [1]);
  return {
    async run() {
      const start = performance.now();
      const result = work();
      // Work is done in order, so waiting for something small that was asked for later is waiting for all of it.
      await one.data();
      const time = performance.now() - start;
      result.dispose();
      return time;
    },
    async dispose() {
      for (const tensor of [one, ...inputs]) tensor.dispose();
    },
  };
}

function matmulRunner(backend: Backend, { m, n, k, transposeA, transposeB }: MatmulCase): Runner {
  const a = random(backend, transposeA ? [k, m] : [m, k]);
  const b = random(backend, transposeB ? [n, k] : [k, n]);
  return timed(backend, () => backend.matmul(a, b, { transposeA, transposeB }), [a, b]);
}

/** `sinkLogit` is that of every head; null: none. */
function attentionRunner(backend: Backend, task: AttentionCase, sinkLogit: number | null): Runner {
  const { batch, heads, length, headDim, window, local, backward } = task;
  const shape = [batch, length, heads, headDim];
  const [q, k, v, dOutput] = [0, 1, 2, 3].map(() => random(backend, shape));
  const bias = backend.tensor(
    Float32Array.from({ length: heads * window }, (_, i) => (i % window >= (local ?? window) ? -100 : 0)),
    [heads, window],
  );
  const tau = backend.full([heads], -1);
  const sink = sinkLogit === null ? undefined : backend.full([heads], sinkLogit);
  const work = (): Tensor => {
    const { output, saved } = backend.attention(q, k, v, { bias, tau, ...(sink && { sink }), save: backward });
    if (backward) {
      const grads = backend.attentionGrad(dOutput, saved);
      for (const grad of Object.values(grads)) grad?.dispose();
    }
    saved.dispose();
    return output;
  };
  return timed(backend, work, [q, k, v, dOutput, bias, tau, ...(sink === undefined ? [] : [sink])]);
}

/** Training as an application writes it, step by step; the caller disposes each loss. */
export interface Trainer {
  step(): Tensor;
  dispose(): void;
}

/** Of a model drawn from seed 1. */
export function trainer(backend: Backend, task: TrainCase): Trainer {
  const { batch, learningRate } = task;
  const model = lazyTransformer(task.model);
  const tokens = trainingTokens(task);
  const host = { tokens, targets: tokens, starts: null, batch, length: model.config.context };
  return trainerOf(backend, model, model.init(backend, 1), host, learningRate);
}

/** Of a model with its parameters, which it disposes in the end, always on the same batch. */
export function trainerOf(
  backend: Backend,
  model: LazyTransformer,
  params: Params,
  host: Parameters<typeof batchTensors>[1],
  learningRate: number,
): Trainer {
  const optimizer = adamW(backend, params, OPTIMIZER);
  const lossAndGrads = valueAndGrad(backend, model.loss);
  return {
    step() {
      const data = batchTensors(backend, host);
      const { value, grads } = lossAndGrads(params, data);
      optimizer.step(grads, learningRate).gradNormSquared.dispose();
      disposeParams(grads);
      for (const tensor of Object.values(data)) tensor?.dispose();
      return value;
    },
    dispose() {
      disposeParams(params);
      optimizer.dispose();
    },
  };
}

function trainRunner(backend: Backend, task: TrainCase): Runner {
  const { step, dispose } = trainer(backend, task);
  return {
    async run() {
      const start = performance.now();
      for (let i = 0; i < STEPS; i++) {
        const loss = step();
        if (i === STEPS - 1) await loss.data();
        loss.dispose();
      }
      return (performance.now() - start) / STEPS;
    },
    dispose: async () => dispose(),
  };
}

function decodeRunner(backend: Backend, { model: options, prompt, tokens }: DecodeCase): Runner {
  const model = lazyTransformer(options);
  const params = model.init(backend, 1);
  const ids = Int32Array.from({ length: prompt }, (_, i) => (i * 31) % model.config.vocabSize);
  return {
    async run() {
      let start = 0;
      let count = 0;
      // The first token comes out of the whole prompt; the others are one row each.
      for await (const _ of generate(backend, model, params, [ids], { maxNewTokens: tokens + 1, temperature: 0 })) {
        if (count === 0) start = performance.now();
        count++;
      }
      return (performance.now() - start) / (count - 1);
    },
    async dispose() {
      disposeParams(params);
    },
  };
}
