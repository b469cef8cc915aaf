import { type Backend, createBackend, type DType, type Tensor } from '@lazy-attention/core';
import { oneOf, type Random, upTo } from '../random.ts';
import { isTyped } from '../typed.ts';
import type { Outcome, Target } from './target.ts';

const CALLS = 64;

/** Values that an argument never should have. */
const STRANGE: readonly unknown[] = [
  undefined,
  null,
  -1,
  0,
  0.5,
  1e9,
  2 ** 31,
  2 ** 53,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  '',
  'f64',
  [],
  {},
  true,
  { shape: [2], dtype: 'f32' },
  { length: 1e9 },
  () => 1,
];
const NUMBERS = [
  0,
  1,
  -1,
  0.5,
  1e-30,
  1e4,
  1e38,
  -1e38,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
];
const SIZES = [1, 1, 2, 2, 3, 4, 4, 5, 7, 8];
const NOT_OPS = ['constructor', 'dispose', 'scope', 'synchronize', 'memory', 'observe'];
/** Methods marked @internal: what they take has been checked by who calls them. */
const INTERNAL = ['read', 'release', 'wrap', 'view', 'hold', 'keep', 'track'];
const NAMES = ['q', 'k', 'v', 'bias', 'tau', 'starts', 'axis', 'axes', 'keepDims', 'base', 'offset', 'epsilon', 'save'];

/** Sequences of random op calls on a pool of tensors, most of them nearly right. What an op returns joins the pool. */
export function opsTarget(backendName: string): Target {
  return {
    name: `ops-${backendName}`,
    async prepare() {
      const backend = await createBackend(backendName);
      const methods = callable(backend);
      return {
        attempt: async (random) => {
          const before = backend.memory().tensors;
          const outcome = await sequence(backend, methods, random);
          const left = backend.memory().tensors - before;
          if (left !== 0) throw new Error(`${left} tensors are alive after every scope has ended`);
          return outcome;
        },
        close: () => backend.dispose(),
      };
    },
  };
}

/** Every method of a backend that takes tensors, found at run time, so that a new op is called without a change here. */
function callable(backend: Backend): readonly string[] {
  const apart = new Set([...NOT_OPS, ...INTERNAL]);
  const found: string[] = [];
  for (let p: object | null = backend; p !== null && p !== Object.prototype; p = Object.getPrototypeOf(p)) {
    for (const name of Object.getOwnPropertyNames(p)) {
      const value = Object.getOwnPropertyDescriptor(p, name)?.value;
      if (typeof value === 'function' && !apart.has(name) && !name.startsWith('check')) found.push(name);
    }
  }
  return [...new Set(found)].sort();
}

async function sequence(backend: Backend, methods: readonly string[], random: Random): Promise<Outcome> {
  const pending: Promise<unknown>[] = [];
  let accepted = 0;
  backend.scope(() => {
    const pool = startingPool(backend, random);
    for (let call = 0; call < CALLS; call++) {
      const name = oneOf(random, methods);
      const args = argumentsOf(name, pool, random);
      try {
        const result: unknown = (backend as unknown as Record<string, (...args: unknown[]) => unknown>)[name]?.(
          ...args,
        );
        accepted++;
        if (result instanceof Promise) pending.push(result);
        else join(result, pool, random);
      } catch (error) {
        if (!isTyped(error)) throw located(error, name, args);
      }
      if (call % 16 === 0 && pool.length > 0) pending.push(oneOf(random, pool).data());
    }
  });
  for (const result of await Promise.allSettled(pending)) {
    if (result.status === 'rejected' && !isTyped(result.reason)) throw result.reason;
  }
  return { count: CALLS, accepted };
}

function startingPool(backend: Backend, random: Random): Tensor[] {
  const [B, L, H, D] = [oneOf(random, SIZES), oneOf(random, SIZES), oneOf(random, [1, 2, 4]), oneOf(random, [4, 8])];
  const dtypes = [...backend.dtypes].filter((dtype) => dtype !== 'i32');
  const dtype: DType = random() < 0.8 ? 'f32' : oneOf(random, dtypes);
  const shapes = [
    [B, L, H, D],
    [B, L, H, D],
    [B, L, H, D],
    [H, L],
    [H],
    [D],
    [B, L, D],
    [D, D],
    [B, H, L, L],
    [L, D],
    [],
  ];
  const floats = shapes.map((shape) => backend.tensor(values(shape, random), shape, dtype));
  const ids = [[B, L], [L], [B]].map((shape) =>
    backend.tensor(
      Int32Array.from({ length: product(shape) }, () => upTo(random, random() < 0.1 ? 1000 : 4)),
      shape,
    ),
  );
  return [...floats, ...ids];
}

function values(shape: readonly number[], random: Random): Float32Array {
  const strange = random() < 0.1;
  return Float32Array.from({ length: product(shape) }, () => (strange ? oneOf(random, NUMBERS) : random() - 0.5));
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function argumentsOf(name: string, pool: readonly Tensor[], random: Random): unknown[] {
  const count = 1 + upTo(random, 5);
  const args = Array.from({ length: count }, () => argument(pool, random));
  // Most calls begin with a tensor, but for the functions that begin with a name or data.
  if (/^(unary|binary|reduce)$/.test(name))
    args[0] = oneOf(random, ['exp', 'log', 'add', 'div', 'sum', 'max', 'argmax']);
  else if (random() < 0.9) args[0] = oneOf(random, pool);
  return args;
}

function argument(pool: readonly Tensor[], random: Random): unknown {
  const kind = random();
  if (kind < 0.6) return oneOf(random, pool);
  if (kind < 0.7) return Array.from({ length: upTo(random, 5) }, () => oneOf(random, SIZES));
  if (kind < 0.8) return oneOf(random, SIZES);
  if (kind < 0.85) return [oneOf(random, pool), oneOf(random, pool)];
  if (kind < 0.95) return options(pool, random);
  return oneOf(random, STRANGE);
}

function options(pool: readonly Tensor[], random: Random): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (let left = upTo(random, 4); left > 0; left--) {
    const value = random() < 0.7 ? oneOf(random, pool) : oneOf(random, [...STRANGE, ...SIZES]);
    result[oneOf(random, NAMES)] = value;
  }
  return result;
}

/** Adds the tensors that an op returned, and throws some of the pool away, disposed or not. */
function join(result: unknown, pool: Tensor[], random: Random): void {
  const found = isTensor(result)
    ? [result]
    : typeof result === 'object' && result !== null
      ? Object.values(result)
      : [];
  pool.push(...(found as unknown[]).filter(isTensor).filter(({ size }) => size <= 4096));
  while (pool.length > 40) {
    const [gone] = pool.splice(upTo(random, pool.length), 1);
    if (random() < 0.5) gone?.dispose();
  }
}

function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && 'storage' in value && 'dtype' in value && 'backend' in value;
}

function located(error: unknown, name: string, args: readonly unknown[]): Error {
  const shown = args.map((arg) => (isTensor(arg) ? `${arg.dtype}[${arg.shape.join(', ')}]` : describe(arg))).join(', ');
  return new Error(`${name}(${shown}): ${error instanceof Error ? error.stack : String(error)}`, { cause: error });
}

function describe(value: unknown): string {
  return typeof value === 'object' && value !== null ? `{${Object.keys(value).join(', ')}}` : String(value);
}
