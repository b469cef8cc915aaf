import {
  type Backend,
  BackendMismatchError,
  checkTensor,
  DisposedError,
  DTypeError,
  formatShape,
  type Ops,
  ShapeError,
  type Tensor,
  ValueError,
} from '@lazy-attention/core';
import type { Params } from '../params.ts';
import { Gradients } from './gradients.ts';
import { createRecorder, type Recorder } from './recorder.ts';
import { finished, sweep } from './sweep.ts';

/** Both belong to the caller. `grads` has the names, shapes and types of the parameters. */
export interface ValueAndGrad<P extends Params> {
  /** What fn returned, shape []. */
  readonly value: Tensor;
  /** Of the value, by parameter. */
  readonly grads: { readonly [name in keyof P]: Tensor };
}

/**
 * The value of a scalar function and its gradient with respect to `params`, by one recorded forward pass and one
 * backward sweep. `fn` computes with `ops` only; tensors outside `params` are constants. Nothing waits for the device.
 * What the sweep no longer needs it frees at once.
 *
 * @throws ShapeError unless fn returns shape [] (`ops.sum`, `ops.crossEntropy`); ValueError, DTypeError, DisposedError
 *   and BackendMismatchError for params or a result that are no live floating tensors of `backend`.
 */
export function valueAndGrad<P extends Params, A extends readonly unknown[]>(
  backend: Backend,
  fn: (ops: Ops, params: P, ...args: A) => Tensor,
): (params: P, ...args: A) => ValueAndGrad<P> {
  return (params, ...args) =>
    backend.scope(() => {
      const recorder = createRecorder(backend);
      const variables = declare(backend, recorder, params);
      const value = runForward(backend, recorder, () => fn(recorder.ops, params, ...args));
      const gradients = new Gradients(backend);
      gradients.add(value.node, backend.full([], 1, value.tensor.dtype));
      sweep(recorder.steps, gradients);
      const grads = Object.fromEntries(
        variables.map(({ name, tensor, node }) => [name, finished(backend, gradients, node, tensor)]),
      );
      return { value: value.tensor, grads: grads as ValueAndGrad<P>['grads'] };
    });
}

/** Runs fn; of all it made, only the result and what the backward sweep needs stay alive. */
function runForward(
  backend: Backend,
  recorder: Recorder,
  fn: () => Tensor,
): { tensor: Tensor; node: number | undefined } {
  return backend.scope(() => {
    const result: unknown = fn();
    checkResult(backend, result);
    const node = recorder.nodeOf('valueAndGrad', 'the result of fn', result);
    recorder.close();
    // A view, because the result might be one of the parameters.
    const tensor = backend.reshape(result, []);
    return { tensor, node, held: recorder.steps.map((step) => step.held) };
  });
}

function declare(backend: Backend, recorder: Recorder, params: Params) {
  const names = new Map<Tensor, string>();
  return Object.entries(params).map(([name, tensor]) => {
    checkParam(backend, `params['${name}']`, tensor);
    const twin = names.get(tensor);
    if (twin !== undefined) {
      throw new ValueError(
        `valueAndGrad: params['${twin}'] and params['${name}'] are one tensor; pass it under one name`,
      );
    }
    names.set(tensor, name);
    return { name, tensor, node: recorder.variable(tensor) };
  });
}

function checkResult(backend: Backend, result: unknown): asserts result is Tensor {
  if (result instanceof Promise) {
    result.catch(() => {});
    throw new ValueError('valueAndGrad: fn returned a Promise; fn only launches ops, so it must be synchronous');
  }
  checkParam(backend, 'the result of fn', result);
  if (result.shape.length !== 0) {
    throw new ShapeError(
      `valueAndGrad: the result of fn has shape ${formatShape(result.shape)}; expected a scalar, []; reduce it with ops.sum`,
    );
  }
}

function checkParam(backend: Backend, name: string, x: unknown): asserts x is Tensor {
  checkTensor('valueAndGrad', name, x);
  if (x.backend !== backend) {
    const whose = x.backend.name === backend.name ? 'another instance of backend' : 'backend';
    throw new BackendMismatchError(
      `valueAndGrad: ${name} belongs to ${whose} '${x.backend.name}', not to this '${backend.name}'`,
    );
  }
  if (x.disposed) throw new DisposedError(`valueAndGrad: ${name} ${formatShape(x.shape)} has been disposed`);
  if (x.dtype === 'i32') throw new DTypeError(`valueAndGrad: ${name} is i32; expected a floating type`);
}
