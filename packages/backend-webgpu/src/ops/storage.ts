import {
  type DType,
  elementCount,
  fromF16Bits,
  type Kernels,
  type SliceView,
  type TensorData,
  toF16Bits,
  UnsupportedError,
} from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import { cast, fill } from '../wgsl/elementwise.ts';
import { moveRows, type Unit } from '../wgsl/move.ts';
import { allocate, elementGrid, type GpuTensor, runPointwise, scalarOf } from './shared.ts';

type StorageKernels = Pick<Kernels<DeviceBuffer>, 'upload' | 'full' | 'read' | 'free' | 'cast' | 'slice' | 'copyInto'>;

/** Value of each of the 65536 halves; filled on first use. */
let halves: Float32Array | undefined;

function fromHalves(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 65536 }, (_, i) => fromF16Bits(i));
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = halves[bits[i]];
  return out;
}

/** Host data in the layout of `dtype` on the device. */
function encode(data: TensorData, dtype: DType): ArrayBufferView<ArrayBuffer> {
  switch (dtype) {
    case 'f32':
      return (data instanceof Float32Array ? data : Float32Array.from(data)) as Float32Array<ArrayBuffer>;
    case 'i32':
      return (data instanceof Int32Array ? data : Int32Array.from(data)) as Int32Array<ArrayBuffer>;
    case 'f16':
      return Uint16Array.from(data, toF16Bits);
    default:
      throw new UnsupportedError(`upload: webgpu has no dtype ${dtype}; use f32${' or, with shader-f16, f16'}`);
  }
}

const floatBits = new Float32Array(1);
const wordBits = new Uint32Array(floatBits.buffer);

function bitsOf(value: number, dtype: DType): number {
  if (dtype === 'i32') return value >>> 0;
  floatBits[0] = value;
  return wordBits[0];
}

/** Uploads, reads and moves. */
export function storageKernels(rt: Runtime): StorageKernels {
  /** Moves rows between a tensor and a compact copy of a part of it. */
  const move = (x: DeviceBuffer, y: DeviceBuffer, dtype: DType, view: SliceView, direction: 'slice' | 'insert') => {
    const wide = view.inner % 4 === 0;
    const unit: Unit = dtype === 'f16' ? (wide ? 'vec2<u32>' : 'f16') : wide ? 'vec4<u32>' : 'u32';
    const inner = wide ? view.inner / 4 : view.inner;
    const units = view.outer * view.count * inner;
    rt.run(
      moveRows,
      { direction, unit },
      {
        buffers: { x, y },
        params: { units, viewLength: view.length, inner, start: view.start, count: view.count },
        grid: elementGrid(units),
      },
    );
  };

  const slice = (x: GpuTensor, view: SliceView): DeviceBuffer => {
    const out = allocate(rt, [view.outer, view.count, view.inner], x.dtype);
    move(x.buffer, out, x.dtype, view, 'slice');
    return out;
  };

  return {
    upload(data, _shape, dtype) {
      return rt.upload(encode(data, dtype));
    },

    full(shape, value, dtype) {
      const out = allocate(rt, shape, dtype);
      const bits = bitsOf(value, dtype);
      runPointwise(rt, fill, { type: scalarOf(dtype) }, { y: out }, elementCount(shape), { bits });
      return out;
    },

    async read(x) {
      const count = elementCount(x.shape);
      const bytes = await rt.read(x.buffer, count * (x.dtype === 'f16' ? 2 : 4));
      if (x.dtype === 'i32') return new Int32Array(bytes);
      return x.dtype === 'f16' ? fromHalves(new Uint16Array(bytes)) : new Float32Array(bytes);
    },

    free(buffer) {
      rt.release(buffer);
    },

    cast(x, dtype) {
      const out = allocate(rt, x.shape, dtype);
      const variant = { from: scalarOf(x.dtype), to: scalarOf(dtype) };
      runPointwise(rt, cast, variant, { x: x.buffer, y: out }, elementCount(x.shape));
      return out;
    },

    slice,

    copyInto(target, source, view) {
      if (target.buffer !== source.buffer) {
        move(source.buffer, target.buffer, target.dtype, view, 'insert');
        return;
      }
      // A dispatch may not read and write one buffer; the source is then the whole target, or a reshape of it.
      const copy = slice(source, { ...view, length: view.count, start: 0 });
      move(copy, target.buffer, target.dtype, view, 'insert');
      rt.release(copy);
    },
  };
}
