import { readdirSync, readFileSync } from 'node:fs';
import { Backend, elementCount, type Kernels, type Tensor } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { createKernels } from '../src/index.ts';

/** The reference against PyTorch's float64 forward passes and autograd; see tools/golden. */

const TOLERANCE = 1e-9;

interface Encoded {
  readonly shape: number[];
  readonly dtype: 'f64' | 'i32';
  readonly data: string | number[];
}

interface Fixture {
  readonly op: string;
  readonly name: string;
  readonly options: Record<string, unknown>;
  readonly inputs: Record<string, Encoded>;
  readonly outputs: Record<string, Encoded>;
  readonly dy?: Encoded;
  readonly gradients?: Record<string, Encoded>;
}

type Tensors = Record<string, Tensor>;

const backend = new Backend(createKernels() as Kernels);

interface Runner {
  forward(x: Tensors, options: Record<string, unknown>): Tensors;
  backward?(dy: Tensor, x: Tensors, options: Record<string, unknown>): Record<string, Tensor | undefined>;
}

const RUNNERS: Record<string, Runner> = {
  attention: {
    forward: ({ q, k, v, ...rest }, options) => ({
      y: backend.attention(q, k, v, { ...rest, ...options }).output,
      weights: backend.attentionWeights(q, k, { ...rest, ...options }),
    }),
    backward: (dy, { q, k, v, ...rest }, options) => {
      const { saved } = backend.attention(q, k, v, { ...rest, ...options });
      const { dq, dk, dv, dbias, dtau } = backend.attentionGrad(dy, saved);
      return { q: dq, k: dk, v: dv, bias: dbias, tau: dtau };
    },
  },
  elasticSoftmax: {
    forward: ({ scores, ...rest }) => ({ y: backend.elasticSoftmax(scores, rest) }),
    backward: (dy, { scores, ...rest }) => {
      const { dscores, dtau } = backend.elasticSoftmaxGrad(dy, scores, rest);
      return { scores: dscores, tau: dtau };
    },
  },
  rmsNorm: {
    forward: ({ x, weight }, options) => ({ y: backend.rmsNorm(x, weight, options) }),
    backward: (dy, { x, weight }, options) => {
      const { dx, dweight } = backend.rmsNormGrad(dy, x, weight, options);
      return { x: dx, weight: dweight };
    },
  },
  rope: {
    forward: ({ x }, options) => ({ y: backend.rope(x, options) }),
    backward: (dy, _x, options) => ({ x: backend.ropeGrad(dy, options) }),
  },
  swiglu: {
    forward: ({ gate, up }) => ({ y: backend.swiglu(gate, up) }),
    backward: (dy, { gate, up }) => {
      const { dgate, dup } = backend.swigluGrad(dy, gate, up);
      return { gate: dgate, up: dup };
    },
  },
  embedding: {
    forward: ({ weight, ids }) => ({ y: backend.embedding(weight, ids) }),
    backward: (dy, { weight, ids }) => ({ weight: backend.embeddingGrad(dy, ids, weight.shape[0]) }),
  },
  matmul: {
    forward: ({ a, b }, options) => ({ y: backend.matmul(a, b, options) }),
    backward: (dy, { a, b }, options) => {
      const { da, db } = backend.matmulGrad(dy, a, b, options);
      return { a: da, b: db };
    },
  },
  crossEntropy: {
    forward: ({ logits, targets }, options) => {
      const { loss, lse } = backend.crossEntropy(logits, targets, options);
      return { y: loss, lse };
    },
    backward: (dy, { logits, targets }, options) => {
      const { lse } = backend.crossEntropy(logits, targets, options);
      return { logits: backend.crossEntropyGrad(dy, logits, targets, lse, options) };
    },
  },
  sum: {
    forward: ({ x }) => ({ y: backend.sum(x) }),
    backward: (dy, { x }) => ({ x: backend.sumGrad(dy, x.shape) }),
  },
  sumSquares: { forward: (x) => ({ y: backend.sumSquares(Object.values(x)) }) },
  adamw: { forward: (x, options) => trainSteps(x, options as unknown as Steps) },
};

interface Steps {
  readonly learningRate: number;
  readonly steps: number;
  readonly maxNorm: number | null;
  readonly weightDecay: number[];
}

function trainSteps(x: Tensors, { learningRate, steps, maxNorm, weightDecay }: Steps): Tensors {
  const state = weightDecay.map((decay, i) => {
    const param = x[`param${i}`];
    return {
      param,
      weightDecay: decay,
      m: backend.zeros(param.shape, 'f64'),
      v: backend.zeros(param.shape, 'f64'),
    };
  });
  for (let step = 1; step <= steps; step++) {
    const updates = state.map((entry, i) => ({ ...entry, grad: x[`grad${i}_${step}`] }));
    const clip =
      maxNorm === null ? {} : { clip: { normSquared: backend.sumSquares(updates.map(({ grad }) => grad)), maxNorm } };
    backend.adamw(updates, { learningRate, step, ...clip });
  }
  return Object.fromEntries(
    state.flatMap(({ param, m, v }, i) => [
      [`param${i}`, param],
      [`m${i}`, m],
      [`v${i}`, v],
    ]),
  );
}

const folder = new URL('./fixtures/', import.meta.url);

for (const file of readdirSync(folder)) {
  describe(`golden ${file}`, () => {
    const fixtures: Fixture[] = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    test.for(fixtures.map((fixture) => [`${fixture.op} ${fixture.name}`, fixture] as const))(
      '%s',
      async ([, fixture]) => {
        const runner = RUNNERS[fixture.op];
        const inputs = () => mapValues(fixture.inputs, toTensor);
        await compare(runner.forward(inputs(), fixture.options), fixture.outputs);
        if (fixture.dy === undefined) return;
        if (runner.backward === undefined) throw new Error(`${fixture.op} has gradients but no runner for them`);
        const gradients = runner.backward(toTensor(fixture.dy), inputs(), fixture.options);
        await compare(gradients, fixture.gradients as Record<string, Encoded>);
      },
    );
  });
}

/** Every expected tensor, by relative Frobenius error; what is zero must be zero to 1e-9 of one. */
async function compare(actual: Record<string, Tensor | undefined>, expected: Record<string, Encoded>): Promise<void> {
  for (const [name, encoded] of Object.entries(expected)) {
    const tensor = actual[name] as Tensor;
    expect(tensor.shape, name).toEqual(encoded.shape);
    const [got, wanted] = [await tensor.data(), decode(encoded)];
    let squares = 0;
    let size = 0;
    for (let i = 0; i < wanted.length; i++) {
      squares += (got[i] - wanted[i]) ** 2;
      size += wanted[i] ** 2;
    }
    const error = Math.sqrt(squares) / (Math.sqrt(size) || 1);
    expect(error <= TOLERANCE, `${name} is off by ${error}`).toBe(true);
  }
}

function toTensor(encoded: Encoded): Tensor {
  return backend.tensor(decode(encoded), encoded.shape, encoded.dtype);
}

function decode({ dtype, data, shape }: Encoded): Float64Array | Int32Array {
  if (dtype === 'i32') return Int32Array.from(data as number[]);
  const bytes = Uint8Array.from(Buffer.from(data as string, 'base64'));
  return new Float64Array(bytes.buffer, 0, elementCount(shape));
}

function mapValues<T, U>(record: Record<string, T>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}
