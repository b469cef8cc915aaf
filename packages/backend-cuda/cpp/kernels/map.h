// out[i] = f(in[i]...). Bound by memory: 8 elements per thread, in accesses of 16 bytes.
#pragma once

#include "kernels/common.h"

namespace gpu {

inline constexpr int mapThreads = 256, perMapThread = 8;

template <class T, int count = perMapThread>
struct alignas(16) Chunk {
  T v[count];
};

template <class F, class Out, class... In>
__global__ void __launch_bounds__(mapThreads) mapKernel(F f, std::int64_t size, Out* out, const In*... in) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * mapThreads + threadIdx.x) * perMapThread;
  if (at + perMapThread <= size) {
    Chunk<Out> result;
    const auto apply = [&](const auto&... chunks) {
#pragma unroll
      for (int i = 0; i < perMapThread; ++i) result.v[i] = f(chunks.v[i]...);
    };
    apply(*reinterpret_cast<const Chunk<In>*>(in + at)...);
    *reinterpret_cast<Chunk<Out>*>(out + at) = result;
  } else {
    for (std::int64_t i = at; i < size; ++i) out[i] = f(in[i]...);
  }
}

template <class F, class Out, class... In>
void map(const char* name, cudaStream_t stream, F f, const Tensor& out, const In*... in) {
  if (out.size == 0) return;
  launch(name, mapKernel<F, Out, In...>, dim3{gridSize(out.size, mapThreads * perMapThread)}, dim3{mapThreads}, 0,
         stream, f, out.size, pointer<Out>(out), in...);
}

}  // namespace gpu
