import { BackendUnavailableError, ValueError } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { bridgeRemovedUtilities, importEngine, isNode } from './load.ts';
import type { ProductStyle } from './multiply.ts';

/** What `createBackend('tfjs', { engine })` takes. */
export type EngineName = 'tfjs-node-gpu' | 'tfjs-node' | 'webgpu' | 'webgl' | 'wasm' | 'cpu';

/** An initialised tfjs engine and what the kernels must know about it. */
export interface Engine {
  readonly name: EngineName;
  /** Its name in tfjs's own registry. */
  readonly tfjsName: string;
  /** For people. */
  readonly device: string;
  readonly products: ProductStyle;
  /** Its scatter adds atomically, in an order that changes from run to run. */
  readonly atomicScatter: boolean;
}

interface EngineKind {
  readonly tfjsName: string;
  readonly package: string;
  readonly products: ProductStyle;
  /** What it is, for people. */
  readonly what: string;
}

const KINDS: Record<EngineName, EngineKind> = {
  'tfjs-node-gpu': {
    tfjsName: 'tensorflow',
    package: '@tensorflow/tfjs-node-gpu',
    products: 'batched',
    what: 'TensorFlow, CUDA',
  },
  'tfjs-node': { tfjsName: 'tensorflow', package: '@tensorflow/tfjs-node', products: 'batched', what: 'TensorFlow' },
  webgpu: { tfjsName: 'webgpu', package: '@tensorflow/tfjs-backend-webgpu', products: 'batched', what: 'WebGPU' },
  webgl: { tfjsName: 'webgl', package: '@tensorflow/tfjs-backend-webgl', products: 'batched', what: 'WebGL' },
  wasm: { tfjsName: 'wasm', package: '@tensorflow/tfjs-backend-wasm', products: 'plain', what: 'WebAssembly, XNNPACK' },
  cpu: { tfjsName: 'cpu', package: '@tensorflow/tfjs-backend-cpu', products: 'batched', what: 'JavaScript' },
};

const IN_NODE: readonly EngineName[] = ['tfjs-node-gpu', 'tfjs-node', 'wasm', 'cpu'];
const IN_BROWSER: readonly EngineName[] = ['webgpu', 'webgl', 'wasm', 'cpu'];

/** Names of all engines, best first. */
export const ENGINES = Object.keys(KINDS) as readonly EngineName[];

const NATIVE_FIX =
  'npm rebuild @tensorflow/tfjs-node, or see "Real TensorFlow without a download" in the README of backend-tfjs';

/** Best first, for where this runs. */
export function candidateEngines(): readonly EngineName[] {
  return isNode() ? IN_NODE : IN_BROWSER;
}

export function checkEngineName(name: unknown): asserts name is EngineName {
  if (typeof name !== 'string' || !(name in KINDS)) {
    throw new ValueError(`createBackend('tfjs'): engine is ${JSON.stringify(name)}; expected ${ENGINES.join(', ')}`);
  }
}

/**
 * Loads, initialises and tries an engine. The engine that was active in tfjs stays so; without one, this becomes it.
 * @throws BackendUnavailableError with the reason and the fix.
 */
export async function openEngine(name: EngineName): Promise<Engine> {
  checkCore();
  const kind = KINDS[name];
  const before = activeEngine();
  try {
    await register(name, kind);
    if (!(await tf.setBackend(kind.tfjsName))) {
      throw unavailable(`engine '${name}' (${kind.package}) is installed but does not initialise here`);
    }
    checkSingleCore(name);
    await tryOut(name);
    const atomicScatter = name === 'webgpu' || name === 'tfjs-node-gpu';
    const { tfjsName, products } = kind;
    return { name, tfjsName, device: describeEngine(name, kind), products, atomicScatter };
  } finally {
    if (before !== undefined) await tf.setBackend(before);
  }
}

/** Runs `fn` with the engine active and gives tfjs back the one that was. Free when they are the same. */
export function onEngine<T>(engine: Engine, fn: () => T): T {
  const before = activeEngine();
  if (before === engine.tfjsName) return fn();
  // Takes effect before it returns, since the engine is initialised.
  void tf.setBackend(engine.tfjsName);
  try {
    return fn();
  } finally {
    if (before !== undefined) void tf.setBackend(before);
  }
}

/** For ops that tfjs users call on whatever engine they have set: how it wants its products. */
export function activeProducts(): ProductStyle {
  return activeEngine() === 'wasm' ? 'plain' : 'batched';
}

function activeEngine(): string | undefined {
  return tf.getBackend() || undefined;
}

async function register(name: EngineName, kind: EngineKind): Promise<void> {
  // Both TensorFlow bindings register under one name, so only loading the package says which one it is.
  const registered = kind.tfjsName !== 'tensorflow' && tf.findBackendFactory(kind.tfjsName) !== null;
  if (registered) return;
  if (!isNode()) {
    throw unavailable(`engine '${name}' is not registered with tfjs`, `import '${kind.package}' in the page first`);
  }
  if (!IN_NODE.includes(name)) {
    throw unavailable(`engine '${name}' runs in browsers; in Node there are ${IN_NODE.join(', ')}`);
  }
  if (kind.tfjsName === 'tensorflow') bridgeRemovedUtilities();
  const installed = await importEngine(kind.package).catch((error: unknown) => {
    throw unavailable(
      `engine '${name}': '${kind.package}' cannot be loaded: ${firstLine(error)}`,
      kind.tfjsName === 'tensorflow' ? NATIVE_FIX : undefined,
      error,
    );
  });
  if (!installed) {
    throw unavailable(
      `engine '${name}' needs the package '${kind.package}', which is not installed`,
      `npm install ${kind.package}@4`,
    );
  }
  if (tf.findBackendFactory(kind.tfjsName) === null) throw otherCopy(name);
}

/** `version` is there for tests. */
export function checkCore(version: string = tf.version_core): void {
  if (!/^4\./.test(version)) {
    throw unavailable(
      `@tensorflow/tfjs-core is version ${version}; expected 4.x`,
      'npm install @tensorflow/tfjs-core@4',
    );
  }
}

/**
 * tfjs keeps one engine per process, made by the first copy of tfjs-core that was loaded: if that is not our copy, the
 * tensors it makes are not ours, and neither are its kernels.
 */
function checkSingleCore(name: EngineName): void {
  const probe = tf.scalar(0);
  const ours = isOurTensor(probe);
  probe.dispose();
  if (!ours) throw otherCopy(name);
}

export function isOurTensor(x: object): x is tf.Tensor {
  for (let p: unknown = Object.getPrototypeOf(x); p !== null; p = Object.getPrototypeOf(p)) {
    if (p === tf.Tensor.prototype) return true;
  }
  return false;
}

function otherCopy(name: EngineName): BackendUnavailableError {
  return unavailable(
    `two copies of @tensorflow/tfjs-core are loaded, and engine '${name}' belongs to the one that lazy-attention does not see`,
    'npm ls @tensorflow/tfjs-core, then bring all @tensorflow packages to one version and run npm dedupe',
  );
}

/** An engine counts only once it has computed something right. */
async function tryOut(name: EngineName): Promise<void> {
  const product = tf.tidy(() => tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([1, 0, 0, 1], [2, 2])));
  try {
    const values = await product.data();
    if ([1, 2, 3, 4].every((value, i) => values[i] === value)) return;
    throw unavailable(`engine '${name}' multiplies wrongly: [[1, 2], [3, 4]] times the identity gave ${values}`);
  } catch (error) {
    if (error instanceof BackendUnavailableError) throw error;
    throw unavailable(`engine '${name}' fails at its first product: ${firstLine(error)}`, undefined, error);
  } finally {
    product.dispose();
  }
}

function describeEngine(name: EngineName, kind: EngineKind): string {
  return `TensorFlow.js ${tf.version_core}, engine ${name} (${kind.what})`;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0];
}

function unavailable(reason: string, fix?: string, cause?: unknown): BackendUnavailableError {
  return new BackendUnavailableError('tfjs', reason, fix, { cause });
}
