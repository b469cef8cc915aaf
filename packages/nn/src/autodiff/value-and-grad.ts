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
import { disposeParams, type Params } from '../params.ts';
import { Gradients } from './gradients.ts';
import { createRecorder } from './recorder.ts';
import type { Recorder } from './rule.ts';
import { finished, sweep, wholeAfter } from './sweep.ts';

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
  const add = addingGrad(backend, fn);
  return (params, ...args) => add(params, null, ...args);
}

/**
 * As `valueAndGrad`, for a sum of functions that are not on the device at once: value and gradients are added to those of the call
 * before, `previous`, which is used up, also where this call throws. Parts of a batch whose losses share one `count` add up to the
 * loss of the batch.
 *
 * `whole` is given each gradient as soon as nothing more is added to it, while those of earlier layers are still to be launched. It
 * is one of the result's, so the caller's.
 */
export function addingGrad<P extends Params, A extends readonly unknown[]>(
  backend: Backend,
  fn: (ops: Ops, params: P, ...args: A) => Tensor,
  whole?: (grad: Tensor) => void,
): (params: P, previous: ValueAndGrad<P> | null, ...args: A) => ValueAndGrad<P> {
  return (params, previous, ...args) => {
    try {
      return backend.scope(() => {
        const recorder = createRecorder(backend);
        const variables = declare(backend, recorder, params);
        const value = runForward(backend, recorder, () => fn(recorder.ops, params, ...args));
        const gradients = new Gradients(backend);
        // A view of the gradients so far, and the last: matrix products may add to them in place.
        for (const { name, node } of variables) {
          const sum = previous?.grads[name];
          if (sum === undefined) continue;
          gradients.add(node, backend.reshape(sum, sum.shape));
          sum.dispose();
        }
        gradients.add(value.node, backend.full([], 1, value.tensor.dtype));
        const found = sweepVariables(backend, recorder, gradients, variables, whole);
        const grads = Object.fromEntries(variables.map(({ name, node }) => [name, found[node]]));
        const total = previous === null ? value.tensor : backend.add(previous.value, value.tensor);
        return { value: total, grads: grads as ValueAndGrad<P>['grads'] };
      });
    } finally {
      if (previous !== null) disposeParams({ ...previous.grads, value: previous.value });
    }
  };
}

/** The gradients of the variables by their nodes, which are numbered from 0. */
function sweepVariables(
  backend: Backend,
  { steps }: Recorder,
  gradients: Gradients,
  variables: ReturnType<typeof declare>,
  whole: (grad: Tensor) => void = () => {},
): Tensor[] {
  const found: Tensor[] = [];
  const ready = wholeAfter(steps, variables.length);
  const finish = (node: number): void => {
    const gradient = finished(backend, gradients, node, variables[node].tensor);
    found[node] = gradient;
    whole(gradient);
  };
  sweep(steps, gradients, (step) => {
    for (const node of ready.get(step) ?? []) finish(node);
  });
  // What fn did not use.
  for (const { node } of variables) if (found[node] === undefined) finish(node);
  return found;
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
