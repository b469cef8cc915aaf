// RMSNorm and its gradient, f32 inside. Bound by memory, so a row is read once: it stays in the registers of a warp, or of a block
// where it is wider, 16 bytes a load. The gradient goes over many rows and keeps the weight's gradient in registers, which
// would otherwise read both tensors again. Rows that are no multiple of 16 bytes, or above 8192 elements, take the kernels
// that read element by element.
#include <algorithm>
#include <cmath>

#include "kernels/common.h"
#include "kernels/run.h"

namespace gpu {

namespace {

constexpr int threads = 256, warps = threads / 32;
constexpr std::size_t scratch = warps * sizeof(float);
// Elements of a row that a thread holds.
constexpr int perThread = 32;

// A row in the registers of `lanes` threads.
template <class T, int lanes>
struct RowRuns {
  static constexpr int vector = 16 / sizeof(T), count = perThread / vector;
  Run<T, vector> runs[count];

  __device__ __forceinline__ static int place(int run) {
    return (run * lanes + static_cast<int>(threadIdx.x) % lanes) * vector;
  }
  __device__ __forceinline__ void load(const T* from, int width) {
#pragma unroll
    for (int c = 0; c < count; ++c) {
      runs[c] = place(c) < width ? *reinterpret_cast<const Run<T, vector>*>(from + place(c)) : Run<T, vector>{};
    }
  }
  __device__ __forceinline__ void store(T* to, int width) const {
#pragma unroll
    for (int c = 0; c < count; ++c) {
      if (place(c) < width) *reinterpret_cast<Run<T, vector>*>(to + place(c)) = runs[c];
    }
  }
  __device__ __forceinline__ float at(int i) const { return toFloat(runs[i / vector].x[i % vector]); }
  __device__ __forceinline__ void set(int i, float x) { runs[i / vector].x[i % vector] = fromFloat<T>(x); }
};

// Sum over the threads of a row.
template <int lanes>
__device__ __forceinline__ float rowSum(float x) {
  if constexpr (lanes == 32) return warpSum(x);
  return blockSum<threads>(x, sharedMemory<float>());
}

template <class T, int lanes>
__device__ __forceinline__ float inverseRms(const RowRuns<T, lanes>& x, int width, float epsilon) {
  float squares = 0;
#pragma unroll
  for (int i = 0; i < perThread; ++i) squares += x.at(i) * x.at(i);
  return 1 / sqrtf(rowSum<lanes>(squares) / static_cast<float>(width) + epsilon);
}

template <class T, int lanes>
__global__ void __launch_bounds__(threads)
    normKernel(const T* x, const T* weight, T* y, std::int64_t rows, int width, float epsilon) {
  const std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * (threads / lanes) + threadIdx.x / lanes;
  if (r >= rows) return;
  RowRuns<T, lanes> row, weights;
  row.load(x + r * width, width);
  weights.load(weight, width);
  const float inverse = inverseRms(row, width, epsilon);
#pragma unroll
  for (int i = 0; i < perThread; ++i) row.set(i, row.at(i) * inverse * weights.at(i));
  row.store(y + r * width, width);
}

// dx = r (w dy - x r^2 mean(w dy x)), r = 1 / rms, and this block's part of dw = sum dy x r.
template <class T, int lanes>
__global__ void __launch_bounds__(threads) normGradKernel(const T* dy, const T* x, const T* weight, T* dx,
                                                          float* partial, std::int64_t rows, int width, float epsilon) {
  constexpr int rowsAtOnce = threads / lanes;
  float dweight[perThread] = {};
  for (std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * rowsAtOnce + threadIdx.x / lanes; r < rows;
       r += static_cast<std::int64_t>(gridDim.x) * rowsAtOnce) {
    RowRuns<T, lanes> row, gradient, weights;
    row.load(x + r * width, width);
    gradient.load(dy + r * width, width);
    weights.load(weight, width);  // from the first-level cache: registers are scarcer
    const float inverse = inverseRms(row, width, epsilon);
    float dot = 0;
#pragma unroll
    for (int i = 0; i < perThread; ++i) dot += weights.at(i) * gradient.at(i) * row.at(i);
    const float pull = rowSum<lanes>(dot) / static_cast<float>(width) * inverse * inverse;
#pragma unroll
    for (int i = 0; i < perThread; ++i) {
      dweight[i] += gradient.at(i) * row.at(i) * inverse;
      row.set(i, inverse * (weights.at(i) * gradient.at(i) - row.at(i) * pull));
    }
    row.store(dx + r * width, width);
  }
  using Runs = RowRuns<T, lanes>;
  const auto sums = sharedMemory<float>(scratch);
  // The warps of a block one after another: the same sum each time.
  for (int turn = 0; turn < rowsAtOnce; ++turn) {
    if (static_cast<int>(threadIdx.x) / lanes == turn) {
#pragma unroll
      for (int i = 0; i < perThread; ++i) {
        const int column = Runs::place(i / Runs::vector) + i % Runs::vector;
        if (column >= width) continue;
        const float total = turn == 0 ? dweight[i] : sums[column] + dweight[i];
        if (turn + 1 < rowsAtOnce) {
          sums[column] = total;
        } else {
          partial[blockIdx.x * static_cast<std::int64_t>(width) + column] = total;
        }
      }
    }
    __syncthreads();
  }
}

// dw: the sum of the blocks' parts, 32 columns a block.
template <class T>
__global__ void __launch_bounds__(threads) finishWeightKernel(const float* partial, T* out, int groups, int width) {
  const int column = static_cast<int>(blockIdx.x) * 32 + static_cast<int>(threadIdx.x) % 32,
            warp = static_cast<int>(threadIdx.x) / 32;
  float total = 0;
  if (column < width) {
#pragma unroll 4
    for (int g = warp; g < groups; g += warps) total += partial[static_cast<std::int64_t>(g) * width + column];
  }
  const auto sums = sharedMemory<float>();
  sums[static_cast<int>(threadIdx.x)] = total;
  __syncthreads();
  if (warp != 0 || column >= width) return;
  for (int w = 1; w < warps; ++w) total += sums[32 * w + static_cast<int>(threadIdx.x)];
  out[column] = fromFloat<T>(total);
}

// ---- element by element ----

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

// dx as above. Leaves r for the weight's gradient.
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

// ---- launches ----

std::int64_t weightGroups(std::int64_t rows) { return std::clamp<std::int64_t>(ceilDiv(rows, 32), 1, 256); }

// Threads that hold a row, 0 where none do.
int lanesOf(std::int64_t width, std::initializer_list<Tensor> tensors) {
  for (const Tensor& tensor : tensors) {
    if (!readsRuns(tensor, width)) return 0;
  }
  return width <= 32 * perThread ? 32 : width <= threads * perThread ? threads : 0;
}

// Calls f with the number as a constant.
template <class F>
void withLanes(int lanes, F f) {
  if (lanes == 32) return f(std::integral_constant<int, 32>{});
  f(std::integral_constant<int, threads>{});
}

}  // namespace

void run(const RmsNorm& op, cudaStream_t stream) {
  if (op.rows == 0) return;
  const int lanes = lanesOf(op.width, {op.x, op.weight, op.out});
  withFloatType(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    const T *x = pointer<const T>(op.x), *weight = pointer<const T>(op.weight);
    const auto epsilon = static_cast<float>(op.epsilon);
    if (lanes == 0) {
      return launch("rmsNorm", rmsNormKernel<T>, dim3{gridSize(op.rows, 1)}, dim3{threads}, scratch, stream, x, weight,
                    pointer<T>(op.out), op.width, epsilon);
    }
    withLanes(lanes, [&](auto count) {
      launch("rmsNorm", normKernel<T, count.value>, dim3{gridSize(op.rows, threads / lanes)}, dim3{threads}, scratch,
             stream, x, weight, pointer<T>(op.out), op.rows, static_cast<int>(op.width), epsilon);
    });
  });
}

std::size_t workspace(const RmsNormGrad& op) {
  return static_cast<std::size_t>(op.rows + weightGroups(op.rows) * op.width) * sizeof(float);
}

void run(const RmsNormGrad& op, void* workspace, cudaStream_t stream) {
  auto* inverses = static_cast<float*>(workspace);
  float* partial = inverses + op.rows;
  const std::int64_t groups = weightGroups(op.rows);
  const int lanes = lanesOf(op.width, {op.dy, op.x, op.weight, op.dx});
  withFloatType(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    const T *dy = pointer<const T>(op.dy), *x = pointer<const T>(op.x), *weight = pointer<const T>(op.weight);
    const auto epsilon = static_cast<float>(op.epsilon);
    if (lanes == 0) {
      launch("rmsNormGrad", rmsNormGradKernel<T>, dim3{gridSize(op.rows, 1)}, dim3{threads}, scratch, stream, dy, x,
             weight, pointer<T>(op.dx), inverses, op.width, epsilon);
      launch("rmsNormGrad dweight", rmsNormWeightKernel<T>,
             dim3{gridSize(op.width, threads), static_cast<unsigned>(groups)}, dim3{threads}, 0, stream, dy, x,
             inverses, partial, op.rows, op.width, ceilDiv(op.rows, groups));
    } else {
      withLanes(lanes, [&](auto count) {
        launch("rmsNormGrad", normGradKernel<T, count.value>, dim3{static_cast<unsigned>(groups)}, dim3{threads},
               scratch + static_cast<std::size_t>(op.width) * sizeof(float), stream, dy, x, weight, pointer<T>(op.dx),
               partial, op.rows, static_cast<int>(op.width), epsilon);
      });
    }
    launch("rmsNormGrad dweight", finishWeightKernel<T>, dim3{gridSize(op.width, 32)}, dim3{threads},
           threads * sizeof(float), stream, partial, pointer<T>(op.dweight), static_cast<int>(groups),
           static_cast<int>(op.width));
  });
}

}  // namespace gpu
