// What a decoder layer has between its products: RoPE and the cache's new rows. A thread per pair of a head.
#include "kernels/rope.h"

namespace gpu {

namespace {

constexpr int threads = 128;

template <class T>
struct Append {
  T* q;
  const T *k, *v;
  T *keys, *values;
  const std::int32_t* steps;
  std::int64_t position, count;
  int length, capacity, heads, kvHeads, headDim;
  bool rotates;
};

template <class T>
__global__ void __launch_bounds__(threads)
    appendKernel(const __grid_constant__ Append<T> p, const __grid_constant__ Frequencies frequencies) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= p.count) return;
  const int half = p.headDim / 2, all = p.heads + 2 * p.kvHeads;
  const int pair = static_cast<int>(i % half);
  const auto head = static_cast<int>(i / half % all);
  const std::int64_t row = i / half / all, b = row / p.length;
  const std::int64_t place = p.position + row % p.length + (p.steps == nullptr ? 0 : p.steps[b]);
  const auto move = [&](const T* from, T* to, bool turns) {
    float low = toFloat(from[0]), high = toFloat(from[half]);
    if (turns) {
      const Turn turn(place, frequencies.of[pair]);
      const float first = turn.low(low, high);
      high = turn.high(low, high);
      low = first;
    }
    to[0] = fromFloat<T>(low);
    to[half] = fromFloat<T>(high);
  };
  if (head < p.heads) {
    T* const q = p.q + (row * p.heads + head) * p.headDim + pair;
    if (p.rotates) move(q, q, true);
    return;
  }
  const bool isKey = head < p.heads + p.kvHeads;
  const int h = head - p.heads - (isKey ? 0 : p.kvHeads);
  const std::int64_t from = (row * p.kvHeads + h) * p.headDim + pair,
                     to = ((b * p.capacity + place) * p.kvHeads + h) * p.headDim + pair;
  move((isKey ? p.k : p.v) + from, (isKey ? p.keys : p.values) + to, isKey && p.rotates);
}

}  // namespace

void appendTokens(const DecoderLayer& op, const Tensor& q, const Tensor& k, const Tensor& v, const Growth& growth,
                  cudaStream_t stream) {
  const auto half = static_cast<int>(op.headDim / 2);
  static_assert(pairsPerLaunch == 128, "heads have at most 256 columns");
  const bool rotates = op.ropeBase != 0;
  const Frequencies frequencies = rotates ? frequenciesOf(op.ropeBase, op.headDim, 0, half) : Frequencies{};
  withFloatType(q.dtype, [&](auto t) {
    using T = decltype(t);
    const auto i = [](std::int64_t x) { return static_cast<int>(x); };
    const Append<T> p{pointer<T>(q),         pointer<const T>(k),
                      pointer<const T>(v),   pointer<T>(op.keys),
                      pointer<T>(op.values), growth.steps,
                      op.position,           op.batch * op.length * (op.heads + 2 * op.kvHeads) * half,
                      i(op.length),          i(op.capacity),
                      i(op.heads),           i(op.kvHeads),
                      i(op.headDim),         rotates};
    launch("decoder append", appendKernel<T>, dim3{gridSize(p.count, threads)}, dim3{threads}, 0, stream, p,
           frequencies);
  });
}

}  // namespace gpu
