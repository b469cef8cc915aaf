import { type Backend, formatShape, type Shape, type Tensor, type TensorData } from '@lazy-attention/core';
import { disposeParams, type LazyTransformer, type Params } from '@lazy-attention/nn';
import { listed, ModelError } from './errors.ts';
import { rowsOf, type StoredTensor, type TensorStore } from './tensors/store.ts';

/** Where a parameter comes from. */
export interface TensorPlan {
  /** Its name in the file. */
  readonly stored: string;
  /** What its rows become; left out: what they are. */
  readonly convert?: (rows: TensorData, columns: number) => TensorData;
  /** Only so many rows, or a multiple, can be converted by themselves. Default 1. */
  readonly step?: number;
}

/** Numbers of a tensor that are in host memory at once: 16 MB in f32, however large the tensor is. */
const PIECE = 4_000_000;

/**
 * Copies tensors to the backend, piece by piece, checked before the first is read: all are there, of the model's shapes, and
 * the file has no others. The caller disposes the result.
 * @throws ModelError MODEL_TENSORS
 */
export async function loadTensors(
  backend: Backend,
  model: LazyTransformer,
  store: TensorStore,
  plan: (name: string) => TensorPlan,
  options: {
    readonly path: string;
    readonly ignored: (name: string) => boolean;
    readonly dtype: (name: string) => Tensor['dtype'];
  },
): Promise<Params> {
  checkTensors(model, store, plan, options);
  const params: Record<string, Tensor> = {};
  try {
    for (const [name, shape] of Object.entries(model.shapes)) {
      const { stored, ...how } = plan(name);
      params[name] = await loadTensor(backend, store.get(stored) as StoredTensor, shape, how, options.dtype(name));
    }
  } catch (error) {
    disposeParams(params);
    throw error;
  }
  return params;
}

/** @throws ModelError MODEL_TENSORS that names what is missing, unknown, or of another shape */
export function checkTensors(
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
  stored: StoredTensor,
  shape: Shape,
  { convert, step = 1 }: Omit<TensorPlan, 'stored'>,
  dtype: Tensor['dtype'],
): Promise<Tensor> {
  const { rows, columns } = rowsOf(shape);
  const read = async (begin: number, end: number): Promise<TensorData> => {
    const data = await stored.read(begin, end);
    return convert === undefined ? data : convert(data, columns);
  };
  const atOnce = Math.max(step, Math.floor(PIECE / columns / step) * step);
  if (rows <= atOnce) return backend.tensor(await read(0, rows), shape, dtype);
  const whole = backend.zeros(shape, dtype);
  try {
    for (let begin = 0; begin < rows; begin += atOnce) {
      const end = Math.min(rows, begin + atOnce);
      const piece = backend.tensor(await read(begin, end), [end - begin, ...shape.slice(1)], dtype);
      backend.copyInto(whole, piece, 0, begin);
      piece.dispose();
      await backend.synchronize(); // so that pieces do not pile up before a device that is behind
    }
  } catch (error) {
    whole.dispose();
    throw error;
  }
  return whole;
}
