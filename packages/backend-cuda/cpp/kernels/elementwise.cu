// Ops whose every output element depends on the same element of each input.
#include "kernels/map.h"

namespace gpu {

namespace {

constexpr int threads = mapThreads, perThread = perMapThread;

template <class T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};
template <class T>
struct Rounded {
  float value;
  __device__ T operator()() const { return fromFloat<T>(value); }
};
template <class To, class From>
struct Convert {
  __device__ To operator()(From x) const { return fromFloat<To>(toFloat(x)); }
};
template <class T>
struct Factor {
  float factor;
  __device__ T operator()(T x) const { return fromFloat<T>(toFloat(x) * factor); }
};
template <class T>
struct GatedProduct {
  __device__ T operator()(T gate, T up) const {
    const float g = toFloat(gate);
    return fromFloat<T>(g / (1 + expf(-g)) * toFloat(up));
  }
};

template <class T>
__global__ void __launch_bounds__(threads)
    swigluGradKernel(std::int64_t size, const T* dy, const T* gate, const T* up, T* dgate, T* dup) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * perThread;
  const auto one = [](float d, float g, float u, float& dg, float& du) {
    const float sigmoid = 1 / (1 + expf(-g));
    du = d * g * sigmoid;
    dg = d * u * sigmoid * (1 + g * (1 - sigmoid));
  };
  if (at + perThread <= size) {
    // 16 bytes at a time: all of f32's five chunks at once spill.
    constexpr int piece = 16 / sizeof(T);
    using Piece = Chunk<T, piece>;
#pragma unroll 1
    for (std::int64_t from = at; from < at + perThread; from += piece) {
      const auto d = *reinterpret_cast<const Piece*>(dy + from), g = *reinterpret_cast<const Piece*>(gate + from),
                 u = *reinterpret_cast<const Piece*>(up + from);
      Piece dg, du;
#pragma unroll
      for (int i = 0; i < piece; ++i) {
        float a, b;
        one(toFloat(d.v[i]), toFloat(g.v[i]), toFloat(u.v[i]), a, b);
        dg.v[i] = fromFloat<T>(a);
        du.v[i] = fromFloat<T>(b);
      }
      *reinterpret_cast<Piece*>(dgate + from) = dg;
      *reinterpret_cast<Piece*>(dup + from) = du;
    }
  } else {
    for (std::int64_t i = at; i < size; ++i) {
      float a, b;
      one(toFloat(dy[i]), toFloat(gate[i]), toFloat(up[i]), a, b);
      dgate[i] = fromFloat<T>(a);
      dup[i] = fromFloat<T>(b);
    }
  }
}

// to[o, toStart + j, i] = from[o, fromStart + j, i]; rows of `inner` units are whole.
template <class Unit>
__global__ void __launch_bounds__(threads)
    copyRowsKernel(const Unit* from, Unit* to, std::int64_t total, std::int64_t span, std::int64_t fromSpan,
                   std::int64_t fromOffset, std::int64_t toSpan, std::int64_t toOffset) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= total) return;
  const std::int64_t o = i / span, rest = i % span;
  to[o * toSpan + toOffset + rest] = from[o * fromSpan + fromOffset + rest];
}

template <class Unit>
void copyRows(const CopyRows& op, std::int64_t inner, cudaStream_t stream) {
  const std::int64_t span = op.count * inner, total = op.outer * span;
  if (total == 0) return;
  launch("copyRows", copyRowsKernel<Unit>, dim3{gridSize(total, threads)}, dim3{threads}, 0, stream,
         pointer<const Unit>(op.from), pointer<Unit>(op.to), total, span, op.fromLength * inner, op.fromStart * inner,
         op.toLength * inner, op.toStart * inner);
}

}  // namespace

void run(const Fill& op, cudaStream_t stream) {
  if (op.out.dtype == DType::i32) {
    using Int = Constant<std::int32_t>;
    return map<Int, std::int32_t>("fill", stream, Int{static_cast<std::int32_t>(op.value)}, op.out);
  }
  // Rounded to the type on the device, where the conversions are.
  withFloatType(op.out.dtype, [&](auto t) {
    using T = decltype(t);
    map<Rounded<T>, T>("fill", stream, Rounded<T>{static_cast<float>(op.value)}, op.out);
  });
}

void run(const Cast& op, cudaStream_t stream) {
  withFloatType(op.x.dtype, [&](auto from) {
    using From = decltype(from);
    withFloatType(op.out.dtype, [&](auto to) {
      using To = decltype(to);
      map<Convert<To, From>, To>("cast", stream, Convert<To, From>{}, op.out, pointer<const From>(op.x));
    });
  });
}

void run(const CopyRows& op, cudaStream_t stream) {
  const std::int64_t bytes = op.inner * static_cast<std::int64_t>(bytesPerElement(op.from.dtype));
  if (bytes % 16 == 0) return copyRows<uint4>(op, bytes / 16, stream);
  if (bytes % 4 == 0) return copyRows<std::uint32_t>(op, bytes / 4, stream);
  copyRows<std::uint16_t>(op, bytes / 2, stream);
}

void run(const Scale& op, cudaStream_t stream) {
  withFloatType(op.out.dtype, [&](auto t) {
    using T = decltype(t);
    map<Factor<T>, T>("scale", stream, Factor<T>{static_cast<float>(op.factor)}, op.out, pointer<const T>(op.x));
  });
}

void run(const Swiglu& op, cudaStream_t stream) {
  withFloatType(op.out.dtype, [&](auto t) {
    using T = decltype(t);
    map<GatedProduct<T>, T>("swiglu", stream, GatedProduct<T>{}, op.out, pointer<const T>(op.gate),
                            pointer<const T>(op.up));
  });
}

void run(const SwigluGrad& op, cudaStream_t stream) {
  if (op.dy.size == 0) return;
  withFloatType(op.dy.dtype, [&](auto t) {
    using T = decltype(t);
    launch("swigluGrad", swigluGradKernel<T>, dim3{gridSize(op.dy.size, threads * perThread)}, dim3{threads}, 0, stream,
           op.dy.size, pointer<const T>(op.dy), pointer<const T>(op.gate), pointer<const T>(op.up),
           pointer<T>(op.dgate), pointer<T>(op.dup));
  });
}

}  // namespace gpu
