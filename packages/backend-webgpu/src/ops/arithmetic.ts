import { elementCount, type Kernels } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { adamw, add, mul, scale } from '../wgsl/elementwise.ts';
import { finalSum, partialSum } from '../wgsl/reduce.ts';
import { allocate, type GpuTensor, runPointwise, scalarOf, withScratch } from './shared.ts';

type ArithmeticKernels = Pick<Kernels<DeviceBuffer>, 'add' | 'mul' | 'scale' | 'sum' | 'sumSquares' | 'adamw'>;

/** Workgroups that share the first stage of a sum; a function of the size alone, so that sums repeat. */
const sumGroups = (elements: number): number => Math.min(256, Math.ceil(elements / 4096));

export function arithmeticKernels(rt: Runtime): ArithmeticKernels {
  /** Sum over the elements of all tensors, in two stages. */
  const total = (tensors: readonly GpuTensor[], squares: boolean): DeviceBuffer => {
    const groups = tensors.map((x) => sumGroups(elementCount(x.shape)));
    const slots = groups.reduce((a, b) => a + b);
    const result = rt.acquire(4);
    withScratch(rt, [slots], (partial) => {
      let slot = 0;
      for (const [i, x] of tensors.entries()) {
        const type = scalarOf(x.dtype);
        rt.run(
          `partialSum/${type}/${squares}`,
          () => partialSum(type, squares),
          [x.buffer, partial],
          [elementCount(x.shape), slot],
          [groups[i]],
        );
        slot += groups[i];
      }
      rt.run('finalSum', finalSum, [partial, result], [slots, 1], [1]);
    });
    return result;
  };

  return {
    add(a, b) {
      const out = allocate(rt, a.shape, a.dtype);
      const type = scalarOf(a.dtype);
      runPointwise(rt, `add/${type}`, () => add(type), [a.buffer, b.buffer, out], elementCount(a.shape));
      return out;
    },

    mul(a, b) {
      const out = allocate(rt, a.shape, a.dtype);
      const type = scalarOf(a.dtype);
      runPointwise(rt, `mul/${type}`, () => mul(type), [a.buffer, b.buffer, out], elementCount(a.shape));
      return out;
    },

    scale(x, factor) {
      const out = allocate(rt, x.shape, x.dtype);
      const type = scalarOf(x.dtype);
      runPointwise(rt, `scale/${type}`, () => scale(type), [x.buffer, out], elementCount(x.shape), [factor]);
      return out;
    },

    sum: (x) => total([x], false),

    sumSquares: (tensors) => total(tensors, true),

    adamw(updates, problem) {
      const { learningRate, beta1, beta2, epsilon, correction1, correction2, clip } = problem;
      const key = clip === null ? 'adamw' : 'adamw/clip';
      const source = () => adamw(clip !== null);
      for (const { param, grad, m, v, weightDecay } of updates) {
        const buffers = [param.buffer, grad.buffer, m.buffer, v.buffer];
        if (clip !== null) buffers.push(clip.normSquared.buffer);
        runPointwise(rt, key, source, buffers, elementCount(param.shape), [
          beta1,
          beta2,
          1 - beta1,
          1 - beta2,
          learningRate * weightDecay,
          learningRate / correction1,
          1 / correction2,
          epsilon,
          clip?.maxNorm ?? 0,
        ]);
      }
    },
  };
}
