// Ops that work row by row: RMSNorm, cross-entropy, RoPE, embedding. A block per row, f32 inside.
#include <algorithm>
#include <cmath>

#include "kernels/common.h"
#include "kernels/rope.h"

namespace gpu {

namespace {

constexpr int threads = 256;
constexpr std::size_t scratch = threads / 32 * sizeof(float);

// ---- RMSNorm ----

template <class T>
__device__ float inverseRms(const T* x, std::int64_t width, float epsilon) {
  float squares = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += threads) squares += toFloat(x[i]) * toFloat(x[i]);
  return 1 / sqrtf(blockSum<threads>(squares, sharedMemory<float>()) / static_cast<float>(width) + epsilon);
}

template <class T>
__global__ void __launch_bounds__(threads)
    rmsNormKernel(const T* x, const T* weight, T* y, std::int64_t width, float epsilon) {
  const std::int64_t at = blockIdx.x * width;
  const float inverse = inverseRms(x + at, width, epsilon);
  for (std::int64_t i = threadIdx.x; i < width; i += threads) {
    y[at + i] = fromFloat<T>(toFloat(x[at + i]) * inverse * toFloat(weight[i]));
  }
}

// dx = r (w dy - x r^2 mean(w dy x)), r = 1 / rms. Leaves r for the weight's gradient.
template <class T>
__global__ void __launch_bounds__(threads) rmsNormGradKernel(const T* dy, const T* x, const T* weight, T* dx,
                                                             float* inverses, std::int64_t width, float epsilon) {
  const std::int64_t at = blockIdx.x * width;
  const float inverse = inverseRms(x + at, width, epsilon);
  float dot = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += threads) {
    dot += toFloat(weight[i]) * toFloat(dy[at + i]) * toFloat(x[at + i]);
  }
  dot = blockSum<threads>(dot, sharedMemory<float>());
  const float pull = dot / static_cast<float>(width) * inverse * inverse;
  for (std::int64_t i = threadIdx.x; i < width; i += threads) {
    dx[at + i] = fromFloat<T>(inverse * (toFloat(weight[i]) * toFloat(dy[at + i]) - toFloat(x[at + i]) * pull));
  }
  if (threadIdx.x == 0) inverses[blockIdx.x] = inverse;
}

// partial[g, i] = sum over the rows of group g of dy x r; a thread per column.
template <class T>
__global__ void __launch_bounds__(threads)
    rmsNormWeightKernel(const T* dy, const T* x, const float* inverses, float* partial, std::int64_t rows,
                        std::int64_t width, std::int64_t rowsPerGroup) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (column >= width) return;
  const std::int64_t first = blockIdx.y * rowsPerGroup;
  const std::int64_t end = first + rowsPerGroup < rows ? first + rowsPerGroup : rows;
  float total = 0;
  for (std::int64_t r = first; r < end; ++r) {
    total += toFloat(dy[r * width + column]) * toFloat(x[r * width + column]) * inverses[r];
  }
  partial[blockIdx.y * width + column] = total;
}

template <class T>
__global__ void __launch_bounds__(threads)
    finishWeightKernel(const float* partial, T* out, std::int64_t groups, std::int64_t width) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (column >= width) return;
  float total = 0;
  for (std::int64_t g = 0; g < groups; ++g) total += partial[g * width + column];
  out[column] = fromFloat<T>(total);
}

std::int64_t weightGroups(std::int64_t rows) { return std::clamp<std::int64_t>(ceilDiv(rows, 32), 1, 256); }

// ---- cross-entropy ----

// One row: lse, and the row's part of the loss (0 where the target is ignored).
template <class T>
__global__ void __launch_bounds__(threads)
    crossEntropyKernel(const T* logits, const std::int32_t* targets, float* lse, float* losses, std::int64_t vocabulary,
                       std::int32_t ignoreIndex) {
  const T* row = logits + blockIdx.x * vocabulary;
  float most = -INFINITY, total = 0;
  for (std::int64_t i = threadIdx.x; i < vocabulary; i += threads) {
    const float x = toFloat(row[i]);
    if (x > most) {
      total = total * expf(most - x) + 1 + (x - x);  // NaN for an infinite x, as exp(x - x) is
      most = x;
    } else if (x != -INFINITY) {
      total += expf(x - most);
    }
  }
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

template <class T>
__global__ void __launch_bounds__(threads)
    crossEntropyGradKernel(const float* dloss, const T* logits, const std::int32_t* targets, const float* lse,
                           T* dlogits, std::int64_t vocabulary, std::int32_t ignoreIndex, float count) {
  const std::int64_t at = blockIdx.x * vocabulary;
  const std::int32_t target = targets[blockIdx.x];
  const float factor = target == ignoreIndex ? 0 : *dloss / count;
  const float norm = lse[blockIdx.x];
  for (std::int64_t i = threadIdx.x; i < vocabulary; i += threads) {
    const float p = expf(toFloat(logits[at + i]) - norm) - (i == target ? 1.0f : 0.0f);
    dlogits[at + i] = fromFloat<T>(factor == 0 ? 0.0f : factor * p);
  }
}

// ---- RoPE ----

// A thread per position and pair, which turns that pair in every batch and head.
template <class T>
__global__ void __launch_bounds__(threads)
    ropeKernel(const T* x, T* y, const __grid_constant__ Frequencies frequencies, int firstPair, int pairs,
               std::int64_t batch, std::int64_t length, std::int64_t heads, std::int64_t headDim, std::int64_t offset,
               float direction) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= length * pairs) return;
  const std::int64_t r = i / pairs;
  const int pair = static_cast<int>(i % pairs);
  Turn turn(offset + r, frequencies.of[pair]);
  turn.sine *= direction;
  const std::int64_t half = headDim / 2, d = firstPair + pair;
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t at = ((b * length + r) * heads + h) * headDim + d;
      const float low = toFloat(x[at]), high = toFloat(x[at + half]);
      y[at] = fromFloat<T>(turn.low(low, high));
      y[at + half] = fromFloat<T>(turn.high(low, high));
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

void run(const RmsNorm& op, cudaStream_t stream) {
  if (op.rows == 0) return;
  withFloatType(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    launch("rmsNorm", rmsNormKernel<T>, rowsGrid(op.rows), dim3{threads}, scratch, stream, pointer<const T>(op.x),
           pointer<const T>(op.weight), pointer<T>(op.out), op.width, static_cast<float>(op.epsilon));
  });
}

std::size_t workspace(const RmsNormGrad& op) {
  return static_cast<std::size_t>(op.rows + weightGroups(op.rows) * op.width) * sizeof(float);
}

void run(const RmsNormGrad& op, void* workspace, cudaStream_t stream) {
  auto* inverses = static_cast<float*>(workspace);
  float* partial = inverses + op.rows;
  const std::int64_t groups = weightGroups(op.rows);
  const unsigned columns = gridSize(op.width, threads);
  withFloatType(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    const T *dy = pointer<const T>(op.dy), *x = pointer<const T>(op.x);
    launch("rmsNormGrad", rmsNormGradKernel<T>, rowsGrid(op.rows), dim3{threads}, scratch, stream, dy, x,
           pointer<const T>(op.weight), pointer<T>(op.dx), inverses, op.width, static_cast<float>(op.epsilon));
    launch("rmsNormGrad dweight", rmsNormWeightKernel<T>, dim3{columns, static_cast<unsigned>(groups)}, dim3{threads},
           0, stream, dy, x, inverses, partial, op.rows, op.width, ceilDiv(op.rows, groups));
    launch("rmsNormGrad dweight", finishWeightKernel<T>, dim3{columns}, dim3{threads}, 0, stream, partial,
           pointer<T>(op.dweight), groups, op.width);
  });
}

std::size_t workspace(const CrossEntropy& op) { return static_cast<std::size_t>(op.rows) * sizeof(float); }

void run(const CrossEntropy& op, void* workspace, cudaStream_t stream) {
  auto* losses = static_cast<float*>(workspace);
  withFloatType(op.logits.dtype, [&](auto t) {
    using T = decltype(t);
    launch("crossEntropy", crossEntropyKernel<T>, rowsGrid(op.rows), dim3{threads}, scratch, stream,
           pointer<const T>(op.logits), pointer<const std::int32_t>(op.targets), pointer<float>(op.lse), losses,
           op.vocabulary, static_cast<std::int32_t>(op.ignoreIndex));
  });
  launch("crossEntropy", meanKernel, dim3{1}, dim3{threads}, scratch, stream, losses, op.rows,
         static_cast<float>(op.count), pointer<float>(op.loss));
}

void run(const CrossEntropyGrad& op, cudaStream_t stream) {
  withFloatType(op.logits.dtype, [&](auto t) {
    using T = decltype(t);
    launch("crossEntropyGrad", crossEntropyGradKernel<T>, rowsGrid(op.rows), dim3{threads}, 0, stream,
           pointer<const float>(op.dloss), pointer<const T>(op.logits), pointer<const std::int32_t>(op.targets),
           pointer<const float>(op.lse), pointer<T>(op.dlogits), op.vocabulary,
           static_cast<std::int32_t>(op.ignoreIndex), static_cast<float>(op.count));
  });
}

void run(const Rope& op, cudaStream_t stream) {
  if (op.x.size == 0) return;
  withFloatType(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    const auto half = static_cast<int>(op.headDim / 2);
    for (int first = 0; first < half; first += pairsPerLaunch) {
      const int pairs = std::min(pairsPerLaunch, half - first);
      launch("rope", ropeKernel<T>, dim3{gridSize(op.length * pairs, threads)}, dim3{threads}, 0, stream,
             pointer<const T>(op.x), pointer<T>(op.out), frequenciesOf(op.base, op.headDim, first, pairs), first, pairs,
             op.batch, op.length, op.heads, op.headDim, op.offset, op.inverse ? -1.0f : 1.0f);
    }
  });
}

void run(const Embedding& op, cudaStream_t stream) {
  if (op.count == 0) return;
  withFloatType(op.weight.dtype, [&](auto t) {
    using T = decltype(t);
    launch("embedding", embeddingKernel<T>, rowsGrid(op.count), dim3{threads}, 0, stream, pointer<const T>(op.weight),
           pointer<const std::int32_t>(op.ids), pointer<T>(op.out), op.width);
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
