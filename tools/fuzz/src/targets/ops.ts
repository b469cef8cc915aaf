import { type Backend, createBackend, type DType, type SavedAttention, type Tensor } from '@lazy-attention/core';
import { oneOf, type Random, upTo } from '../random.ts';
import { isTyped } from '../typed.ts';
import { RIGHT_ARGUMENTS, type Sizes, type Supply, someSizes } from './op-arguments.ts';
import type { Outcome, Target } from './target.ts';

const CALLS = 64;

/** A backend that has a limit of memory gets one; of one that has none nothing is asked that would fit, just, in no memory. */
const LIMITED: Readonly<Record<string, Record<string, unknown>>> = { cpu: { memoryLimit: 2 ** 28 } };

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

/**
 * Sequences of random op calls on a pool of tensors: half of them right, a quarter with one argument spoilt, a quarter with
 * arguments at random. What an op returns joins the pool.
 */
export function opsTarget(backendName: string): Target {
  return {
    name: `ops-${backendName}`,
    async prepare() {
      const backend = await createBackend(backendName, LIMITED[backendName] ?? {});
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
  const found = Object.keys(backend.decoder ?? {}).map((name) => `decoder.${name}`);
  for (let p: object | null = backend; p !== null && p !== Object.prototype; p = Object.getPrototypeOf(p)) {
    for (const name of Object.getOwnPropertyNames(p)) {
      const value = Object.getOwnPropertyDescriptor(p, name)?.value;
      if (typeof value === 'function' && !apart.has(name) && !name.startsWith('check')) found.push(name);
    }
  }
  return [...new Set(found)].sort();
}

/** What calls take and leave behind. */
interface Pool {
  readonly tensors: Tensor[];
  readonly kept: { readonly saved: SavedAttention; readonly shape: readonly number[] }[];
}

async function sequence(backend: Backend, methods: readonly string[], random: Random): Promise<Outcome> {
  const pending: Promise<unknown>[] = [];
  let accepted = 0;
  backend.scope(() => {
    const sizes = someSizes(random);
    const pool: Pool = { tensors: startingTensors(backend, sizes, random), kept: [] };
    const supply = supplyOf(backend, sizes, pool, random);
    for (let call = 0; call < CALLS; call++) {
      const name = oneOf(random, methods);
      const args = argumentsOf(name, supply, pool.tensors);
      try {
        const result = callOf(backend, name, args);
        accepted++;
        if (result instanceof Promise) pending.push(result);
        else join(result, pool, random);
      } catch (error) {
        if (!isTyped(error)) throw located(error, name, args);
      }
      if (call % 16 === 0) pending.push(oneOf(random, pool.tensors).data());
    }
  });
  for (const result of await Promise.allSettled(pending)) {
    if (result.status === 'rejected' && !isTyped(result.reason)) throw result.reason;
  }
  return { count: CALLS, accepted };
}

/** `name` may be that of a member of a member: 'decoder.layer'. */
function callOf(backend: Backend, name: string, args: readonly unknown[]): unknown {
  type Holder = Record<string, (...args: unknown[]) => unknown>;
  const [first = '', second] = name.split('.');
  const holder = second === undefined ? backend : (backend as unknown as Record<string, object>)[first];
  return (holder as unknown as Holder)[second ?? first]?.(...args);
}

/** A tensor of each shape that the ops know, and their element type. */
function startingTensors(backend: Backend, { B, L, H, D, C }: Sizes, random: Random): Tensor[] {
  const dtype = floatType(backend, random);
  const shapes = [[B, L, H, D], [B, L, C], [C], [H], [C, C], [B, L], []];
  return shapes.map((shape) => backend.tensor(values(shape, random), shape, dtype));
}

function floatType(backend: Backend, random: Random): DType {
  const dtypes = [...backend.dtypes].filter((dtype) => dtype !== 'i32');
  return random() < 0.8 ? 'f32' : oneOf(random, dtypes);
}

function supplyOf(backend: Backend, sizes: Sizes, { tensors, kept }: Pool, random: Random): Supply {
  const reached = (made: Tensor) => {
    tensors.push(made);
    return made;
  };
  const { dtype } = tensors[0] as Tensor;
  const find = (shape: readonly number[], dtype: DType) => {
    const fitting = tensors.filter((x) => x.dtype === dtype && x.shape.join() === shape.join());
    return fitting.length > 0 && random() < 0.7 ? oneOf(random, fitting) : undefined;
  };
  return {
    random,
    sizes,
    strange: backend.name in LIMITED ? STRANGE : STRANGE.filter((value) => value !== 1e9),
    floats: (...shape) => find(shape, dtype) ?? reached(backend.tensor(values(shape, random), shape, dtype)),
    ids: (end, ...shape) => {
      const beyond = random() < 0.05 ? 1000 : end;
      const ids = Int32Array.from({ length: product(shape) }, () => upTo(random, beyond));
      return (random() < 0.3 ? find(shape, 'i32') : undefined) ?? reached(backend.tensor(ids, shape));
    },
    any: () => {
      const x = oneOf(random, tensors);
      return x.dtype === dtype ? x : (tensors[0] as Tensor);
    },
    kept: () => (kept.length > 0 ? oneOf(random, kept) : null),
  };
}

function values(shape: readonly number[], random: Random): Float32Array {
  const strange = random() < 0.1;
  return Float32Array.from({ length: product(shape) }, () => (strange ? oneOf(random, NUMBERS) : random() - 0.5));
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function argumentsOf(name: string, supply: Supply, pool: readonly Tensor[]): unknown[] {
  const { random } = supply;
  const right = random() < 0.75 ? RIGHT_ARGUMENTS[name]?.(supply) : undefined;
  if (right !== undefined) {
    if (random() < 0.33) spoil(right, supply, pool);
    return right;
  }
  return Array.from({ length: 1 + upTo(random, 5) }, () => argument(supply, pool));
}

/** Replaces one argument, or a member of one. */
function spoil(args: unknown[], supply: Supply, pool: readonly Tensor[]): void {
  const { random } = supply;
  const at = upTo(random, args.length);
  const arg = args[at] as object;
  const members = isTensor(arg) || typeof arg !== 'object' || arg === null ? [] : Object.keys(arg);
  if (members.length === 0 || random() < 0.3) args[at] = argument(supply, pool);
  else if (!ArrayBuffer.isView(arg)) args[at] = { ...arg, [oneOf(random, members)]: argument(supply, pool) };
}

function argument({ random, strange }: Pick<Supply, 'random' | 'strange'>, pool: readonly Tensor[]): unknown {
  const kind = random();
  if (kind < 0.6) return oneOf(random, pool);
  if (kind < 0.7) return Array.from({ length: upTo(random, 5) }, () => oneOf(random, SIZES));
  if (kind < 0.8) return oneOf(random, SIZES);
  if (kind < 0.85) return [oneOf(random, pool), oneOf(random, pool)];
  if (kind < 0.95) return options({ random, strange }, pool);
  return oneOf(random, strange);
}

function options(
  { random, strange }: Pick<Supply, 'random' | 'strange'>,
  pool: readonly Tensor[],
): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (let left = upTo(random, 4); left > 0; left--) {
    const value = random() < 0.7 ? oneOf(random, pool) : oneOf(random, [...strange, ...SIZES]);
    result[oneOf(random, NAMES)] = value;
  }
  return result;
}

/** Adds what an op returned, and throws some of the pool away, disposed or not; never its first tensor. */
function join(result: unknown, { tensors, kept }: Pool, random: Random): void {
  const found: unknown[] = isTensor(result)
    ? [result]
    : typeof result === 'object' && result !== null
      ? Object.values(result)
      : [];
  tensors.push(...found.filter(isTensor).filter(({ size }) => size <= 4096));
  const saved = found.find(isSaved);
  if (saved !== undefined) kept.push({ saved, shape: (found.find(isTensor) as Tensor).shape });
  while (tensors.length > 40) {
    const [gone] = tensors.splice(1 + upTo(random, tensors.length - 1), 1);
    if (random() < 0.5) gone?.dispose();
  }
  while (kept.length > 4) {
    const [gone] = kept.splice(upTo(random, kept.length), 1);
    if (random() < 0.5) gone?.saved.dispose();
  }
}

function isSaved(value: unknown): value is SavedAttention {
  return typeof value === 'object' && value !== null && 'disposed' in value && !('storage' in value);
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
