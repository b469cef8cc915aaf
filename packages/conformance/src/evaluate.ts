import { createKernels } from '@lazy-attention/backend-reference';
import { Backend, type FloatDType, formatShape, type Kernels } from '@lazy-attention/core';
import type { Direction, Tolerance } from './case.ts';
import { assertClose, ConformanceError, type Result, type Results } from './compare.ts';
import { type Problem, type Tensors, toTensor, toTensors } from './problem.ts';

let shared: Backend | undefined;

/** The reference backend, used in float64. */
export function oracle(): Backend {
  shared ??= new Backend(createKernels() as Kernels);
  return shared;
}

/** Runs one direction of a problem and reads the results. Throws when something is still alive afterwards. */
export async function evaluate(
  backend: Backend,
  problem: Problem,
  dtype: FloatDType,
  direction: Direction,
): Promise<Results> {
  const before = backend.memory();
  const x = toTensors(backend, problem.inputs, dtype);
  const made: Tensors[] = [x];
  try {
    const results = direction === 'forward' ? runForward(backend, problem, x) : runBackward(backend, problem, x, dtype);
    made.push(results);
    return await readAll(results);
  } finally {
    for (const tensors of made) for (const tensor of Object.values(tensors)) tensor.dispose();
    assertNothingLeft(backend, before);
  }
}

/** Throws when the tested backend and the oracle disagree on a problem. */
export async function assertAgrees(
  backend: Backend,
  problem: Problem,
  dtype: FloatDType,
  direction: Direction,
  tolerance: Tolerance,
): Promise<void> {
  const actual = await evaluate(backend, problem, dtype, direction);
  const all = await evaluate(oracle(), problem, 'f64', direction);
  const expected = problem.partial ? Object.fromEntries(Object.keys(actual).map((name) => [name, all[name]])) : all;
  const allowed = (direction === 'forward' ? tolerance.output : tolerance.gradient) * (problem.loosen ?? 1);
  assertClose(describe(problem, dtype), actual, expected, allowed, problem.floor ?? 0, problem.allowNaN);
}

export async function readAll(tensors: Tensors): Promise<Results> {
  const results: Record<string, Result> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    results[name] = { shape: tensor.shape, values: await tensor.data() };
  }
  return results;
}

export function assertNothingLeft(backend: Backend, before: { tensors: number; bytes: number }): void {
  const after = backend.memory();
  if (after.tensors !== before.tensors || after.bytes !== before.bytes) {
    throw new ConformanceError(
      `memory: ${after.tensors - before.tensors} tensors and ${after.bytes - before.bytes} bytes are still held after everything was disposed`,
    );
  }
}

function runForward(backend: Backend, problem: Problem, x: Tensors): Tensors {
  return backend.scope(() => problem.forward(backend, x));
}

function runBackward(backend: Backend, problem: Problem, x: Tensors, dtype: FloatDType): Tensors {
  const { backward, dy } = problem;
  if (backward === undefined || dy === undefined) throw new Error('this problem has no backward');
  return backend.scope(() => backward(backend, x, toTensor(backend, dy, dtype)));
}

function describe(problem: Problem, dtype: FloatDType): string {
  const inputs = Object.entries(problem.inputs).map(([name, host]) => `${name} ${formatShape(host.shape)}`);
  return `${dtype} with ${inputs.join(', ')}`;
}
