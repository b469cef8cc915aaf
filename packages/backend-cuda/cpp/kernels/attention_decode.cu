// Attention of one new token per sequence (L = 1). There is little to compute and a whole cache to read, so the keys are
// split over blocks (flash decoding) and only those rows of v are read that some query head of the group gives a positive
// weight (spec §Decoding): with 60 % of the weights zero and as many kv heads as heads, 30 % of the cache stays unread.
//
// Three launches: scores, with maximum and sum per split; weighted values per split; the sum over the splits, in order.
#include <algorithm>

#include "kernels/attention.h"

namespace gpu {

namespace {

constexpr int threads = 128;
constexpr int warps = threads / 32;
constexpr int keysPerSplit = 256;
constexpr int columnsPerLane = 8;  // 32 lanes hold head size 256

int splitsOf(int keys) { return ceilDiv(keys, keysPerSplit); }

struct Scratch {
  float* scores;   // [B, H, S]
  float2* norms;   // [B, H, splits]: maximum and sum of exp(s - maximum)
  float* partial;  // [splits, B, H, D]
};

// s_j for a split's keys and all query heads of a group: a warp per key, which reads k_j once.
template <class T>
__global__ void __launch_bounds__(threads)
    decodeScoresKernel(const __grid_constant__ AttentionProblem<T> p, Scratch scratch) {
  const int split = static_cast<int>(blockIdx.x), kvHead = static_cast<int>(blockIdx.y),
            b = static_cast<int>(blockIdx.z);
  const int group = p.heads / p.kvHeads, warp = static_cast<int>(threadIdx.x) / 32,
            lane = static_cast<int>(threadIdx.x) % 32;
  const int start = p.start(b, 0), first = split * keysPerSplit;
  const int end = first + keysPerSplit < p.keys ? first + keysPerSplit : p.keys;
  const auto meet = sharedMemory<float>();
  for (int g = 0; g < group; ++g) {
    const int h = kvHead * group + g;
    float q[columnsPerLane];
#pragma unroll
    for (int c = 0; c < columnsPerLane; ++c) {
      const int d = c * 32 + lane;
      q[c] = d < p.headDim ? toFloat(p.q[p.queryAt(b, 0, h) + d]) : 0.0f;
    }
    float* scores = scratch.scores + (static_cast<std::int64_t>(b) * p.heads + h) * p.keys;
    float most = lowest, total = 0;
    for (int j = first + warp; j < end; j += warps) {
      if (j < start) continue;
      const T* key = p.k + p.keyAt(b, j, kvHead);
      float dot = 0;
#pragma unroll
      for (int c = 0; c < columnsPerLane; ++c) {
        const int d = c * 32 + lane;
        if (d < p.headDim) dot += q[c] * toFloat(key[d]);
      }
      const float s = warpSum(dot) * p.scale + p.biasAt(h, p.keys - 1 - j);
      if (lane == 0) scores[j] = s;
      const float next = fmaxf(most, s);
      total = total * expf(most - next) + expf(s - next);
      most = next;
    }
    if (lane == 0) {
      meet[2 * warp] = most;
      meet[2 * warp + 1] = total;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < warps; ++w) {
        const float otherMost = meet[2 * w], otherTotal = meet[2 * w + 1], next = fmaxf(most, otherMost);
        total = total * expf(most - next) + otherTotal * expf(otherMost - next);
        most = next;
      }
      scratch.norms[(static_cast<std::int64_t>(b) * p.heads + h) * gridDim.x + split] = make_float2(most, total);
    }
    __syncthreads();
  }
}

// partial[split] = sum of w_j v_j over the split's keys, for one query head. A thread per column; the weights first, so
// that rows of v whose weight is 0 are never touched. Heads of a group run side by side and share v in the cache.
template <class T>
__global__ void __launch_bounds__(threads)
    decodeValuesKernel(const __grid_constant__ AttentionProblem<T> p, Scratch scratch, int splits) {
  const int split = static_cast<int>(blockIdx.y), h = static_cast<int>(blockIdx.x), b = static_cast<int>(blockIdx.z);
  const int kvHead = h / (p.heads / p.kvHeads), start = p.start(b, 0), first = split * keysPerSplit;
  const int count = first + keysPerSplit < p.keys ? keysPerSplit : p.keys - first;
  const std::int64_t row = static_cast<std::int64_t>(b) * p.heads + h;
  float most = lowest, total = 0;
  for (int s = 0; s < splits; ++s) most = fmaxf(most, scratch.norms[row * splits + s].x);
  for (int s = 0; s < splits; ++s) {
    const float2 norm = scratch.norms[row * splits + s];
    total += norm.y * expf(norm.x - most);
  }
  const float sink = p.sinkLogit(h);
  if (sink != -INFINITY) {
    const float next = fmaxf(most, sink);
    total = total * expf(most - next) + expf(sink - next);
    most = next;
  }
  const float lse = most + logf(total), offset = p.offset(b, h, 0);
  const auto weights = sharedMemory<float>();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) {
    const int j = first + i;
    weights[i] = j < start ? 0.0f : nanMax(expf(scratch.scores[row * p.keys + j] - lse) + offset, 0.0f);
  }
  __syncthreads();
  float o[2] = {};
  for (int i = 0; i < count; ++i) {
    const float w = weights[i];
    if (w == 0) continue;
    const T* value = p.v + p.keyAt(b, first + i, kvHead);
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int d = c * threads + static_cast<int>(threadIdx.x);
      if (d < p.headDim) o[c] += w * toFloat(value[d]);
    }
  }
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const int d = c * threads + static_cast<int>(threadIdx.x);
    if (d < p.headDim)
      scratch.partial[((static_cast<std::int64_t>(split) * p.batch + b) * p.heads + h) * p.headDim + d] = o[c];
  }
}

template <class T>
__global__ void __launch_bounds__(threads)
    decodeSumKernel(const float* partial, T* out, int splits, std::int64_t size) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= size) return;
  float total = 0;
  for (int s = 0; s < splits; ++s) total += partial[s * size + i];
  out[i] = fromFloat<T>(total);
}

std::int64_t alignedFloats(std::int64_t count) { return ceilDiv(count, std::int64_t{64}) * 64; }

}  // namespace

std::size_t decodeWorkspace(const AttentionInputs& in) {
  const AttentionSizes& z = in.sizes;
  const std::int64_t rows = z.batch * z.heads, splits = splitsOf(static_cast<int>(z.keyLength));
  return static_cast<std::size_t>(alignedFloats(rows * z.keyLength) + alignedFloats(2 * rows * splits) +
                                  rows * splits * z.headDim) *
         sizeof(float);
}

template <class T>
void decode(const AttentionProblem<T>& p, void* workspace, cudaStream_t stream) {
  const int splits = splitsOf(p.keys);
  const std::int64_t rows = static_cast<std::int64_t>(p.batch) * p.heads, size = rows * p.headDim;
  Scratch scratch{};
  scratch.scores = static_cast<float*>(workspace);
  float* norms = scratch.scores + alignedFloats(rows * p.keys);
  scratch.norms = reinterpret_cast<float2*>(norms);
  scratch.partial = norms + alignedFloats(2 * rows * splits);
  const auto u = [](int x) { return static_cast<unsigned>(x); };
  launch("attention decode scores", decodeScoresKernel<T>, dim3{u(splits), u(p.kvHeads), u(p.batch)}, dim3{threads},
         2 * warps * sizeof(float), stream, p, scratch);
  launch("attention decode values", decodeValuesKernel<T>, dim3{u(p.heads), u(splits), u(p.batch)}, dim3{threads},
         keysPerSplit * sizeof(float), stream, p, scratch, splits);
  launch("attention decode sum", decodeSumKernel<T>, dim3{gridSize(size, threads)}, dim3{threads}, 0, stream,
         static_cast<const float*>(scratch.partial), p.out, splits, size);
}

template void decode(const AttentionProblem<float>&, void*, cudaStream_t);
template void decode(const AttentionProblem<bf16>&, void*, cudaStream_t);
template void decode(const AttentionProblem<f16>&, void*, cudaStream_t);

}  // namespace gpu
