import { createKernels } from '@lazy-attention/backend-reference';
import {
  Backend,
  type DType,
  type FloatDType,
  type Kernels,
  type KernelTensor,
  type TensorData,
} from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import type { Case } from '../src/case.ts';
import { conformanceCases } from '../src/cases.ts';
import { named } from '../src/random.ts';
import { attentionMutations, flawedAttention } from './mutations/flawed-attention.ts';
import { changed, mutate, type ReferenceKernels } from './mutations/mutation.ts';
import { primitiveMutations } from './mutations/primitives.ts';
import { simpleMutations } from './mutations/simple.ts';

/** Conformance must be able to fail: every one of these wrong kernels is caught by a test of its own op. */

const DTYPES: readonly FloatDType[] = ['f32', 'f64', 'bf16', 'f16'];
const ALL = conformanceCases({ dtypes: DTYPES, size: 'small' });
const F32 = ALL.filter(({ dtype, name }) => dtype === 'f32' && !name.includes('declared_types'));

/** What is not an op: names, and what a wrong version of can only be seen as a crash or as memory that is not freed. */
const NOT_MUTATED = new Set([
  'name',
  'device',
  'dtypes',
  'packedDTypes',
  'free',
  'freeSaved',
  'synchronize',
  'dispose',
]);

const MUTATIONS = [...simpleMutations, ...primitiveMutations, ...attentionMutations];

async function firstFailure(kernels: ReferenceKernels, cases: readonly Case[]): Promise<string | null> {
  const backend = new Backend(kernels as Kernels);
  for (const { name, run, lacks } of cases) {
    if (lacks?.(backend) !== undefined) continue;
    try {
      await run(backend);
    } catch {
      return name;
    }
  }
  return null;
}

/** Tests of the op and direction that the kernel is for, then those of its op and of memory, then all others. */
function nearestFirst(kernel: string): Case[] {
  const distance = ({ name, op }: Case) => {
    if (name.startsWith(`${kernel} `) || name.startsWith(`${kernel}.`) || op === 'errors') return 0;
    return kernel.startsWith(op) || op === 'memory' ? 1 : 2;
  };
  return ALL.toSorted((a, b) => distance(a) - distance(b));
}

test('every kernel has a mutation', () => {
  const mutated = new Set(MUTATIONS.map(({ kernel }) => kernel as string));
  const kernels = Object.keys(createKernels()).filter((key) => !NOT_MUTATED.has(key));
  expect(kernels.filter((key) => !mutated.has(key))).toEqual([]);
});

describe('is caught', () => {
  test.for(MUTATIONS.map((mutation) => [`${mutation.kernel} ${mutation.name}`, mutation] as const))(
    '%s',
    { timeout: 600_000 },
    async ([, mutation]) => {
      const caughtBy = await firstFailure(mutate(mutation), nearestFirst(mutation.kernel));
      expect(caughtBy).not.toBeNull();
    },
  );
});

describe('passes', () => {
  test('another implementation of attention without a flaw', { timeout: 600_000 }, async () => {
    const kernels = { ...createKernels(), ...flawedAttention(createKernels(), null) };
    const cases = ALL.filter(({ op }) => op.startsWith('attention'));
    expect(await firstFailure(kernels, cases)).toBeNull();
  });

  test('a backend that has no type but float32', { timeout: 600_000 }, async () => {
    const kernels = { ...createKernels(), dtypes: new Set<DType>(['f32', 'i32']) };
    expect(await firstFailure(kernels, conformanceCases({ size: 'small' }))).toBeNull();
  });

  // Otherwise the tests would ask for more than float32 can give.
  test('operands off by a rounding of float32', { timeout: 600_000 }, async () => {
    expect(await firstFailure(withRounding(createKernels()), F32)).toBeNull();
  });
});

/** Relative noise of 2^-23, three times the mean rounding error of a float32 operation, on what attention reads. */
function withRounding(right: ReferenceKernels): ReferenceKernels {
  const noisy = (x: KernelTensor<TensorData>) => {
    const random = named('noise', x.buffer.length);
    const buffer = changed(new Float64Array(x.buffer), (value) => value * (1 + (random() - 0.5) * 2 ** -22));
    return { ...x, buffer };
  };
  const noisyInputs = <T extends { q: KernelTensor<TensorData>; k: KernelTensor<TensorData> }>(inputs: T): T => ({
    ...inputs,
    q: { ...noisy(inputs.q), dtype: 'f32' },
    k: { ...noisy(inputs.k), dtype: 'f32' },
  });
  return {
    ...right,
    attention: (inputs, save) => right.attention(noisyInputs(inputs), save),
    attentionGrad: (dO, inputs, output, saved) => right.attentionGrad(dO, noisyInputs(inputs), output, saved),
    attentionWeights: (inputs) => right.attentionWeights(noisyInputs(inputs)),
    elasticSoftmax: (inputs) => right.elasticSoftmax({ ...inputs, scores: noisy(inputs.scores) }),
    elasticSoftmaxGrad: (dw, inputs) => right.elasticSoftmaxGrad(dw, { ...inputs, scores: noisy(inputs.scores) }),
  };
}
