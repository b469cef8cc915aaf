import type { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';

/** The memory of a tensor, in its own element type. */
export type Memory = Float32Array | Int32Array;

/** A kernel in JavaScript for the engines whose memory JavaScript can reach: wasm and cpu. */
export interface HostKernel<Attributes extends object> {
  /** Unique among tfjs's kernels. */
  readonly name: string;
  /** Fills `output`, the memory of a fresh dense tensor, which may hold anything. */
  fill(output: Memory, inputs: readonly Memory[], attributes: Attributes): void;
}

/** True where host kernels run: on the engine that is active. */
export function hasHostKernels(): boolean {
  const engine = tf.getBackend();
  return engine === 'wasm' || engine === 'cpu';
}

/** Runs a host kernel on the active engine; the result has `shape` and, by default, the first input's type. */
export function runHostKernel<Attributes extends object>(
  kernel: HostKernel<Attributes>,
  inputs: readonly tf.Tensor[],
  attributes: Attributes,
  shape: readonly number[],
  dtype: tf.DataType = inputs[0].dtype,
): tf.Tensor {
  const engine = tf.getBackend() as 'wasm' | 'cpu';
  if (tf.getKernel(kernel.name, engine) === undefined) register(kernel, engine);
  const attrs = { attributes, shape, dtype, count: inputs.length } as unknown as tf.NamedAttrMap;
  return tf.engine().runKernel(kernel.name, Object.fromEntries(inputs.entries()) as tf.NamedTensorMap, attrs);
}

function register<Attributes extends object>(kernel: HostKernel<Attributes>, engine: 'wasm' | 'cpu'): void {
  const open = engine === 'wasm' ? openOnWasm : openOnCpu;
  tf.registerKernel({
    kernelName: kernel.name,
    backendName: engine,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { attributes, shape, dtype, count } = attrs as unknown as Call<Attributes>;
      const operands = Array.from({ length: count }, (_, i) => inputs[i] as tf.TensorInfo);
      const { output, memory } = open(backend, operands, shape, dtype);
      kernel.fill(memory[count], memory.slice(0, count), attributes);
      return output;
    },
  });
}

interface Call<Attributes> {
  readonly attributes: Attributes;
  readonly shape: number[];
  readonly dtype: 'float32' | 'int32';
  readonly count: number;
}

/** The output and the memory of every operand, and last that of the output. */
interface Opened {
  readonly output: tf.TensorInfo;
  readonly memory: readonly Memory[];
}

type Open = (
  backend: unknown,
  operands: readonly tf.TensorInfo[],
  shape: number[],
  dtype: 'float32' | 'int32',
) => Opened;

const openOnWasm: Open = (backend, operands, shape, dtype) => {
  const wasm = backend as BackendWasm;
  const output = wasm.makeOutput(shape, dtype);
  // Views into the heap, taken after the allocation, which may have moved it.
  return { output, memory: [...operands, output].map((x) => wasm.typedArrayFromHeap(x) as Memory) };
};

const openOnCpu: Open = (backend, operands, shape, dtype) => {
  const cpu = backend as MathBackendCPU;
  const values = tf.util.getTypedArrayFromDType(dtype, tf.util.sizeFromShape(shape)) as Memory;
  const output = cpu.makeTensorInfo(shape, dtype, values);
  return { output, memory: [...operands.map((x) => cpu.readSync(x.dataId) as Memory), values] };
};
