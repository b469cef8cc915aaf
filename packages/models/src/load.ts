import { type Backend, formatShape, type Tensor, type TensorData } from '@lazy-attention/core';
import { disposeParams, type LazyTransformer, type Params } from '@lazy-attention/nn';
import { listed, ModelError } from './errors.ts';
import { loadPacked, type WeightsFormat } from './packed.ts';
import { reorderBlocks, reorderHeads } from './rows.ts';
import { checkFinite } from './tensors/finite.ts';
import { rowsOf, type StoredTensor, type TensorStore } from './tensors/store.ts';

/** Where a parameter comes from. */
export interface TensorPlan {
  /** Its name in the file. */
  readonly stored: string;
  /** What its elements become; left out: what they are. */
  readonly convert?: (rows: TensorData) => TensorData;
  /** Its rows are in GGUF's order of pairs within heads of this size; left out: in ours. */
  readonly pairsOf?: number;
}

/** Numbers of a tensor that are in host memory at once: 4 MB in f32, however large the tensor is. */
const PIECE = 1_000_000;

/**
 * Copies tensors to the backend, piece by piece, in the order of the model. The caller disposes the result.
 * @throws ModelError MODEL_CORRUPT
 */
export async function loadTensors(
  backend: Backend,
  tensors: TensorStore,
  dtype: (name: string) => Tensor['dtype'],
  weights: WeightsFormat = 'dense',
): Promise<Params> {
  const params: Record<string, Tensor> = {};
  try {
    for (const [name, tensor] of tensors) {
      params[name] =
        (await loadPacked(backend, name, tensor, weights)) ?? (await loadTensor(backend, name, tensor, dtype(name)));
    }
  } catch (error) {
    disposeParams(params);
    throw error;
  }
  return params;
}

/** Pieces of a tensor, whole rows of its first axis, that are small whatever it is; one for a small tensor. */
export async function* pieces(tensor: StoredTensor): AsyncGenerator<{ begin: number; end: number; data: TensorData }> {
  const { step = 1, shape } = tensor;
  const { rows, columns } = rowsOf(shape);
  const atOnce = Math.max(step, Math.floor(PIECE / columns / step) * step);
  for (let begin = 0; begin < rows; begin += atOnce) {
    const end = Math.min(rows, begin + atOnce);
    yield { begin, end, data: await tensor.read(begin, end) };
  }
}

/** The parameters of `model` by its own names, checked against what the files have. */
export function planTensors(
  model: LazyTransformer,
  store: TensorStore,
  plan: (name: string) => TensorPlan,
  options: { readonly path: string; readonly ignored: (name: string) => boolean },
): TensorStore {
  checkTensors(model, store, plan, options);
  return new Map(
    Object.entries(model.shapes).map(([name, shape]) => {
      const { stored, convert, pairsOf } = plan(name);
      const tensor = store.get(stored) as StoredTensor;
      if (pairsOf !== undefined) return [name, reordered(tensor, rowsOf(shape).columns, pairsOf)];
      if (convert === undefined) return [name, tensor];
      const { blocks: _, ...elements } = tensor;
      return [name, { ...elements, read: async (from, to) => convert(await tensor.read(from, to)) }];
    }),
  );
}

/** A tensor whose heads of rows come in our order; whole heads can be read alone. */
function reordered(tensor: StoredTensor, columns: number, headDim: number): StoredTensor {
  const { blocks } = tensor;
  return {
    ...tensor,
    step: headDim,
    read: async (from, to) => reorderHeads(await tensor.read(from, to), columns, headDim),
    ...(blocks === undefined
      ? {}
      : { blocks: async (from, to) => reorderBlocks(await blocks(from, to), columns, headDim) }),
  };
}

/** @throws ModelError MODEL_TENSORS that names what is missing, unknown, or of another shape */
function checkTensors(
  model: LazyTransformer,
  store: TensorStore,
  plan: (name: string) => TensorPlan,
  { path, ignored }: { readonly path: string; readonly ignored: (name: string) => boolean },
): void {
  const expected = new Map(Object.entries(model.shapes).map(([name, shape]) => [plan(name).stored, shape]));
  const wrong = (message: string) => new ModelError('MODEL_TENSORS', path, message);
  const missing = Array.from(expected.keys()).filter((name) => !store.has(name));
  if (missing.length > 0) throw wrong(`lacks tensors that its configuration asks for: ${listed(missing)}`);
  const unknown = Array.from(store.keys()).filter((name) => !expected.has(name) && !ignored(name));
  if (unknown.length > 0) throw wrong(`has tensors that its configuration has no place for: ${listed(unknown)}`);
  for (const [name, shape] of expected) {
    const found = store.get(name) as StoredTensor;
    if (formatShape(found.shape) !== formatShape(shape)) {
      throw new ModelError(
        'MODEL_TENSORS',
        found.file,
        `'${name}' has shape ${formatShape(found.shape)}; the configuration says ${formatShape(shape)}`,
      );
    }
    if (found.type === 'I32')
      throw new ModelError('MODEL_TENSORS', found.file, `'${name}' has type I32; expected floating-point numbers`);
  }
}

async function loadTensor(
  backend: Backend,
  name: string,
  tensor: StoredTensor,
  dtype: Tensor['dtype'],
): Promise<Tensor> {
  const { shape } = tensor;
  const { rows } = rowsOf(shape);
  let whole: Tensor | null = null;
  try {
    for await (const { begin, end, data } of pieces(tensor)) {
      checkFinite(tensor.file, name, data);
      if (end - begin === rows) return backend.tensor(data, shape, dtype);
      whole ??= backend.zeros(shape, dtype);
      const piece = backend.tensor(data, [end - begin, ...shape.slice(1)], dtype);
      backend.copyInto(whole, piece, 0, begin);
      piece.dispose();
      await backend.synchronize(); // so that pieces do not pile up before a device that is behind
    }
  } catch (error) {
    whole?.dispose();
    throw error;
  }
  return whole ?? backend.zeros(shape, dtype);
}
