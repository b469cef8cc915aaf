// Ops that work row by row: cross-entropy, RoPE, embedding (norm.cu has RMSNorm). f32 inside; 16 bytes a load where rows are
// multiples of that.
#include <algorithm>
#include <cmath>

#include "kernels/common.h"
#include "kernels/rope.h"
#include "kernels/run.h"

namespace gpu {

namespace {

constexpr int threads = 256;
constexpr std::size_t scratch = threads / 32 * sizeof(float);

// Calls visit(i, x_i, place of i in its load) for this thread's part of a row, `vector` elements a load.
template <int vector, class T, class Visit>
__device__ __forceinline__ void eachOf(const T* row, std::int64_t size, const Visit& visit) {
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x) * vector; i < size; i += threads * vector) {
    const auto run = *reinterpret_cast<const Run<T, vector>*>(row + i);
#pragma unroll
    for (int e = 0; e < vector; ++e) visit(i + e, toFloat(run.x[e]), e);
  }
}

// Calls f with the elements of a load of 16 bytes, or with 1 where rows do not allow it.
template <class T, class F>
void withVector(bool runs, F f) {
  if (runs) return f(std::integral_constant<int, 16 / sizeof(T)>{});
  f(std::integral_constant<int, 1>{});
}

// ---- cross-entropy ----

// One row: lse, and the row's part of the loss (0 where the target is ignored).
template <class T, int vector>
__global__ void __launch_bounds__(threads)
    crossEntropyKernel(const T* logits, const std::int32_t* targets, float* lse, float* losses, std::int64_t vocabulary,
                       std::int32_t ignoreIndex) {
  const T* row = logits + blockIdx.x * vocabulary;
  float most = -INFINITY, total = 0;
  eachOf<vector>(row, vocabulary, [&](std::int64_t, float x, int) {
    if (x > most) {
      total = total * expf(most - x) + 1 + (x - x);  // NaN for an infinite x, as exp(x - x) is
      most = x;
    } else if (x != -INFINITY) {
      total += expf(x - most);
    }
  });
  const float top = blockMax<threads>(most, sharedMemory<float>());
  total = blockSum<threads>(total == 0 ? 0.0f : total * expf(most - top), sharedMemory<float>());
  if (threadIdx.x != 0) return;
  const float result = top + logf(total);
  const std::int32_t target = targets[blockIdx.x];
  lse[blockIdx.x] = result;
  losses[blockIdx.x] = target == ignoreIndex ? 0 : result - toFloat(row[target]);
}

__global__ void __launch_bounds__(threads) meanKernel(const float* losses, std::int64_t rows, float count, float* out) {
  float total = 0;
  for (std::int64_t i = threadIdx.x; i < rows; i += threads) total += losses[i];
  total = blockSum<threads>(total, sharedMemory<float>());
  if (threadIdx.x == 0) *out = total / count;
}

template <class T, int vector>
__global__ void __launch_bounds__(threads)
    crossEntropyGradKernel(const float* dloss, const T* logits, const std::int32_t* targets, const float* lse,
                           T* dlogits, std::int64_t vocabulary, std::int32_t ignoreIndex, float count) {
  const std::int64_t at = blockIdx.x * vocabulary;
  const std::int32_t target = targets[blockIdx.x];
  const float factor = target == ignoreIndex ? 0 : *dloss / count;
  const float norm = lse[blockIdx.x];
  Run<T, vector> gradient;
  eachOf<vector>(logits + at, vocabulary, [&](std::int64_t i, float x, int e) {
    const float p = expf(x - norm) - (i == target ? 1.0f : 0.0f);
    gradient.x[e] = fromFloat<T>(factor == 0 ? 0.0f : factor * p);
    if (e == vector - 1) *reinterpret_cast<Run<T, vector>*>(dlogits + at + i - e) = gradient;
  });
}

// ---- RoPE ----

// A thread per position and `vector` pairs, which turns those in every head; blocks along y take the batch.
template <class T, int vector>
__global__ void __launch_bounds__(threads)
    ropeKernel(const T* x, T* y, const __grid_constant__ Frequencies frequencies, int firstPair, int pairs,
               std::int64_t batch, std::int64_t length, std::int64_t heads, std::int64_t headDim, std::int64_t offset,
               float direction) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  const int runs = pairs / vector;
  if (i >= length * runs) return;
  const std::int64_t r = i / runs, half = headDim / 2;
  const int pair = static_cast<int>(i % runs) * vector;
  float cosines[vector], sines[vector];
#pragma unroll
  for (int e = 0; e < vector; ++e) {
    const Turn turn(offset + r, frequencies.of[pair + e]);
    cosines[e] = turn.cosine;
    sines[e] = turn.sine * direction;
  }
  for (std::int64_t b = blockIdx.y; b < batch; b += gridDim.y) {
#pragma unroll 4
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t at = ((b * length + r) * heads + h) * headDim + firstPair + pair;
      auto low = *reinterpret_cast<const Run<T, vector>*>(x + at),
           high = *reinterpret_cast<const Run<T, vector>*>(x + at + half);
#pragma unroll
      for (int e = 0; e < vector; ++e) {
        const Turn turn(cosines[e], sines[e]);
        const float first = toFloat(low.x[e]), second = toFloat(high.x[e]);
        low.x[e] = fromFloat<T>(turn.low(first, second));
        high.x[e] = fromFloat<T>(turn.high(first, second));
      }
      *reinterpret_cast<Run<T, vector>*>(y + at) = low;
      *reinterpret_cast<Run<T, vector>*>(y + at + half) = high;
    }
  }
}

// ---- embedding ----

template <class T>
__global__ void __launch_bounds__(threads)
    embeddingKernel(const T* weight, const std::int32_t* ids, T* out, std::int64_t width) {
  const T* row = weight + ids[blockIdx.x] * width;
  for (std::int64_t i = threadIdx.x; i < width; i += threads) out[blockIdx.x * width + i] = row[i];
}

constexpr int idsPerStep = 1024;
constexpr int columnsPerThread = 4;
constexpr int columnsPerBlock = threads * columnsPerThread;

// A block per row of the vocabulary looks through all ids, in order, and adds up the rows of dy that are its own. That
// reads vocabulary x count ids, from the second-level cache, but needs no sorting and no atomics.
template <class T>
__global__ void __launch_bounds__(threads)
    embeddingGradKernel(const T* dy, const std::int32_t* ids, T* dweight, std::int64_t width, std::int64_t count) {
  const auto mine = static_cast<std::int32_t>(blockIdx.x);
  const auto found = sharedMemory<std::int32_t>();  // per warp, whether it met the id in this step
  const auto seen = sharedMemory<std::int32_t>(64);
  float total[columnsPerThread] = {};
  for (std::int64_t first = 0; first < count; first += idsPerStep) {
    bool match = false;
    for (int i = static_cast<int>(threadIdx.x); i < idsPerStep; i += threads) {
      const std::int32_t id = first + i < count ? ids[first + i] : -1;
      seen[i] = id;
      match = match || id == mine;
    }
    match = warpAny(match);
    if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = match ? 1 : 0;
    __syncthreads();
    bool any = false;
    for (int w = 0; w < threads / 32; ++w) any = any || found[w] != 0;
    for (int i = 0; any && i < idsPerStep; ++i) {
      if (seen[i] != mine) continue;
#pragma unroll
      for (int c = 0; c < columnsPerThread; ++c) {
        const std::int64_t column = blockIdx.y * columnsPerBlock + c * threads + threadIdx.x;
        if (column < width) total[c] += toFloat(dy[(first + i) * width + column]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int c = 0; c < columnsPerThread; ++c) {
    const std::int64_t column = blockIdx.y * columnsPerBlock + c * threads + threadIdx.x;
    if (column < width) dweight[mine * width + column] = fromFloat<T>(total[c]);
  }
}

dim3 rowsGrid(std::int64_t rows) { return dim3{gridSize(rows, 1)}; }

}  // namespace

std::size_t workspace(const CrossEntropy& op) { return static_cast<std::size_t>(op.rows) * sizeof(float); }

void run(const CrossEntropy& op, void* workspace, cudaStream_t stream) {
  auto* losses = static_cast<float*>(workspace);
  withFloatType(op.logits.dtype, [&](auto t) {
    using T = decltype(t);
    withVector<T>(readsRuns(op.logits, op.vocabulary), [&](auto vector) {
      launch("crossEntropy", crossEntropyKernel<T, vector.value>, rowsGrid(op.rows), dim3{threads}, scratch, stream,
             pointer<const T>(op.logits), pointer<const std::int32_t>(op.targets), pointer<float>(op.lse), losses,
             op.vocabulary, static_cast<std::int32_t>(op.ignoreIndex));
    });
  });
  launch("crossEntropy", meanKernel, dim3{1}, dim3{threads}, scratch, stream, losses, op.rows,
         static_cast<float>(op.count), pointer<float>(op.loss));
}

void run(const CrossEntropyGrad& op, cudaStream_t stream) {
  withFloatType(op.logits.dtype, [&](auto t) {
    using T = decltype(t);
    const bool runs = readsRuns(op.logits, op.vocabulary) && readsRuns(op.dlogits, op.vocabulary);
    withVector<T>(runs, [&](auto vector) {
      launch("crossEntropyGrad", crossEntropyGradKernel<T, vector.value>, rowsGrid(op.rows), dim3{threads}, 0, stream,
             pointer<const float>(op.dloss), pointer<const T>(op.logits), pointer<const std::int32_t>(op.targets),
             pointer<const float>(op.lse), pointer<T>(op.dlogits), op.vocabulary,
             static_cast<std::int32_t>(op.ignoreIndex), static_cast<float>(op.count));
    });
  });
}

void run(const Rope& op, cudaStream_t stream) {
  if (op.x.size == 0) return;
  withFloatType(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    const auto half = static_cast<int>(op.headDim / 2);
    const auto rows = static_cast<unsigned>(std::min<std::int64_t>(op.batch, 65535));
    // Both halves of a head, since `half` elements are whole loads.
    withVector<T>(readsRuns(op.x, half) && readsRuns(op.out, half), [&](auto vector) {
      for (int first = 0; first < half; first += pairsPerLaunch) {
        const int pairs = std::min(pairsPerLaunch, half - first);
        launch("rope", ropeKernel<T, vector.value>, dim3{gridSize(op.length * pairs / vector.value, threads), rows},
               dim3{threads}, 0, stream, pointer<const T>(op.x), pointer<T>(op.out),
               frequenciesOf(op.base, op.headDim, first, pairs), first, pairs, op.batch, op.length, op.heads,
               op.headDim, op.offset, op.inverse ? -1.0f : 1.0f);
      }
    });
  });
}

template <class T>
void copyEmbeddings(const Embedding& op, std::int64_t width, cudaStream_t stream) {
  launch("embedding", embeddingKernel<T>, rowsGrid(op.count), dim3{threads}, 0, stream, pointer<const T>(op.weight),
         pointer<const std::int32_t>(op.ids), pointer<T>(op.out), width);
}

void run(const Embedding& op, cudaStream_t stream) {
  if (op.count == 0) return;
  withFloatType(op.weight.dtype, [&](auto t) {
    using T = decltype(t);
    if (!readsRuns(op.weight, op.width) || !readsRuns(op.out, op.width)) {
      return copyEmbeddings<T>(op, op.width, stream);
    }
    copyEmbeddings<uint4>(op, op.width * static_cast<std::int64_t>(sizeof(T)) / 16, stream);
  });
}

void run(const EmbeddingGrad& op, cudaStream_t stream) {
  withFloatType(op.dy.dtype, [&](auto t) {
    using T = decltype(t);
    launch("embeddingGrad", embeddingGradKernel<T>,
           dim3{gridSize(op.vocabulary, 1), gridSize(op.width, columnsPerBlock)}, dim3{threads},
           64 + idsPerStep * sizeof(std::int32_t), stream, pointer<const T>(op.dy), pointer<const std::int32_t>(op.ids),
           pointer<T>(op.dweight), op.width, op.count);
  });
}

}  // namespace gpu
