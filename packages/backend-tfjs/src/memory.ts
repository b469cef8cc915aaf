import { type DType, elementCount, OutOfMemoryError, type Shape, UnsupportedError } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Engine, onEngine } from './engine.ts';
import { type Handle, type Operand, TFJS_DTYPE } from './handle.ts';

/** One tensor may not exceed what a typed array of every engine can hold. */
const MOST_BYTES = 2 ** 31 - 4;

/** The handles of one backend on its engine, and ways to run ops there. */
export interface Memory {
  /** The engine on which everything runs. */
  readonly engine: Engine;
  /** Takes over a tensor. */
  hold(tensor: tf.Tensor): Handle;
  /** Runs tfjs ops on the engine in a `tf.tidy`: what `fn` does not return is freed. @throws OutOfMemoryError */
  inside<T extends tf.TensorContainer>(fn: () => T): T;
  /** The same for one tensor, which is then held. */
  run(fn: () => tf.Tensor): Handle;
  /** Puts a tensor of the same size into a handle, and frees what was there. */
  replace(handle: Handle, tensor: tf.Tensor): void;
  /** Frees what a handle holds. */
  free(handle: Handle): void;
  /** Frees everything that is held. */
  freeAll(): void;
}

/** The memory of a new backend. */
export function createMemory(engine: Engine): Memory {
  const live = new Set<Handle>();
  const hold = (tensor: tf.Tensor): Handle => {
    const handle = { tensor: tf.keep(tensor) };
    live.add(handle);
    return handle;
  };
  const inside = <T extends tf.TensorContainer>(fn: () => T): T =>
    guardMemory(() => onEngine(engine, () => tf.tidy(fn)));
  return {
    engine,
    hold,
    inside,
    run: (fn) => hold(inside(fn)),
    replace(handle, tensor) {
      const { shape } = handle.tensor;
      const next = tf.keep(
        tensor.shape.join() === shape.join() ? tensor : onEngine(engine, () => tf.reshape(tensor, shape)),
      );
      if (next !== tensor) tensor.dispose();
      handle.tensor.dispose();
      handle.tensor = next;
    },
    free(handle) {
      live.delete(handle);
      handle.tensor.dispose();
    },
    freeAll() {
      for (const handle of live) handle.tensor.dispose();
      live.clear();
    },
  };
}

/** The handle's tensor in the shape that the op sees. */
export function view(x: Operand): tf.Tensor {
  const { tensor } = x.buffer;
  return tensor.shape.length === x.shape.length && tensor.shape.every((size, i) => size === x.shape[i])
    ? tensor
    : tf.reshape(tensor, [...x.shape]);
}

/** `view` of an operand with one axis. */
export const vector = (x: Operand) => view(x) as tf.Tensor1D;
/** `view` of an operand with two axes. */
export const matrix = (x: Operand) => view(x) as tf.Tensor2D;
/** `view` of an operand with four axes. */
export const four = (x: Operand) => view(x) as tf.Tensor4D;

/** The tfjs type of an element type. @throws UnsupportedError for one that tfjs has not */
export function tfjsType(dtype: DType): 'float32' | 'int32' {
  if (dtype === 'f32' || dtype === 'i32') return TFJS_DTYPE[dtype];
  throw new UnsupportedError(`tfjs has no ${dtype}; it has f32, i32`);
}

/** @throws OutOfMemoryError for a tensor that no engine can hold */
export function checkSize(shape: Shape): void {
  const bytes = 4 * elementCount(shape);
  if (bytes > MOST_BYTES) {
    throw new OutOfMemoryError(`tfjs: a tensor of ${bytes} bytes; the most is ${MOST_BYTES}`, bytes);
  }
}

/** Engines say that memory has run out in words of their own. */
function guardMemory<T>(fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (
      /out of memory|enlarge memory|array buffer allocation|invalid typed array length|OOM|resource exhausted/i.test(
        message,
      )
    ) {
      throw new OutOfMemoryError(`tfjs: ${message.split('\n')[0]}; ${tf.memory().numBytes} bytes are in use`, 0);
    }
    throw error;
  }
}
