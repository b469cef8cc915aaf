// Sums of whole tensors, and the fused optimiser step. Split over a number of blocks that depends on the size alone, and
// added up in a fixed order, so that a sum repeats bit for bit.
#include <algorithm>

#include "kernels/common.h"

namespace gpu {

namespace {

constexpr int threads = 256;
constexpr int maxBlocks = 512;

int blocksFor(std::int64_t size) {
  return static_cast<int>(std::clamp<std::int64_t>(ceilDiv(size, 8 * threads), 1, maxBlocks));
}

template <class T, bool squared>
__global__ void __launch_bounds__(threads) sumKernel(const T* x, std::int64_t size, float* partial) {
  float total = 0;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * threads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x; i < size; i += step) {
    const float v = toFloat(x[i]);
    total += squared ? v * v : v;
  }
  total = blockSum<threads>(total, sharedMemory<float>());
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// One block adds up what the others left.
__global__ void __launch_bounds__(threads) finishKernel(const float* partial, std::int64_t count, float* out) {
  float total = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += threads) total += partial[i];
  total = blockSum<threads>(total, sharedMemory<float>());
  if (threadIdx.x == 0) *out = total;
}

__global__ void __launch_bounds__(threads)
    sumPartialsKernel(const float* partial, float* out, std::int64_t count, std::int64_t size) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= size) return;
  float total = 0;
  for (std::int64_t c = 0; c < count; ++c) total += partial[c * size + i];
  out[i] = total;
}

constexpr std::size_t scratch = threads / 32 * sizeof(float);

template <bool squared>
void launchSum(const Tensor& x, float* partial, cudaStream_t stream) {
  withFloatType(x.dtype, [&](auto t) {
    using T = decltype(t);
    launch(squared ? "sumSquares" : "sum", sumKernel<T, squared>, dim3{static_cast<unsigned>(blocksFor(x.size))},
           dim3{threads}, scratch, stream, pointer<const T>(x), x.size, partial);
  });
}

void finish(const float* partial, std::int64_t count, const Tensor& out, cudaStream_t stream) {
  launch("sum", finishKernel, dim3{1}, dim3{threads}, scratch, stream, partial, count, pointer<float>(out));
}

// Parameters of several tensors travel in the launch itself (4 KiB), so that a step is a handful of launches.
struct AdamWTensor {
  float *param, *m, *v;
  const float* grad;
  std::int64_t size;
  float weightDecay;
};
constexpr int tensorsPerLaunch = 64;
struct AdamWBatch {
  AdamWTensor tensors[tensorsPerLaunch];
  float learningRate, beta1, beta2, epsilon, correction1, correction2, maxNorm;
  const float* normSquared;
};

// kernels.ts "adamw".
__global__ void __launch_bounds__(threads) adamwKernel(const __grid_constant__ AdamWBatch batch) {
  const AdamWTensor& t = batch.tensors[blockIdx.y];
  float clip = 1;
  if (batch.normSquared != nullptr) clip = nanMin(1.0f, batch.maxNorm / (sqrtf(*batch.normSquared) + 1e-6f));
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * threads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x; i < t.size; i += step) {
    const float g = t.grad[i] * clip;
    const float m = batch.beta1 * t.m[i] + (1 - batch.beta1) * g;
    const float v = batch.beta2 * t.v[i] + (1 - batch.beta2) * g * g;
    t.m[i] = m;
    t.v[i] = v;
    const float p = t.param[i];
    t.param[i] = p - batch.learningRate * t.weightDecay * p -
                 batch.learningRate / batch.correction1 * m / (sqrtf(v / batch.correction2) + batch.epsilon);
  }
}

}  // namespace

void sumPartials(const float* partial, float* out, std::int64_t count, std::int64_t size, cudaStream_t stream) {
  if (size == 0) return;
  launch("sumPartials", sumPartialsKernel, dim3{gridSize(size, threads)}, dim3{threads}, 0, stream, partial, out, count,
         size);
}

std::int64_t partialSums(const Tensor& x) { return blocksFor(x.size); }

void sumAll(const Tensor& x, float* partial, const Tensor& out, cudaStream_t stream) {
  launchSum<false>(x, partial, stream);
  finish(partial, blocksFor(x.size), out, stream);
}

std::size_t workspace(const SumSquares& op) {
  std::size_t blocks = 1;
  for (const Tensor& x : op.xs) blocks += static_cast<std::size_t>(blocksFor(x.size));
  return blocks * sizeof(float);
}

void run(const SumSquares& op, void* workspace, cudaStream_t stream) {
  auto* partial = static_cast<float*>(workspace);
  std::int64_t count = 0;
  for (const Tensor& x : op.xs) {
    launchSum<true>(x, partial + count, stream);
    count += blocksFor(x.size);
  }
  finish(partial, count, op.out, stream);
}

void run(const AdamW& op, cudaStream_t stream) {
  for (std::size_t first = 0; first < op.updates.size(); first += tensorsPerLaunch) {
    const std::size_t count = std::min<std::size_t>(tensorsPerLaunch, op.updates.size() - first);
    AdamWBatch batch{};
    std::int64_t largest = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const AdamW::Update& u = op.updates[first + i];
      batch.tensors[i] = {pointer<float>(u.param),      pointer<float>(u.m), pointer<float>(u.v),
                          pointer<const float>(u.grad), u.param.size,        static_cast<float>(u.weightDecay)};
      largest = std::max(largest, u.param.size);
    }
    batch.learningRate = static_cast<float>(op.learningRate);
    batch.beta1 = static_cast<float>(op.beta1);
    batch.beta2 = static_cast<float>(op.beta2);
    batch.epsilon = static_cast<float>(op.epsilon);
    batch.correction1 = static_cast<float>(op.correction1);
    batch.correction2 = static_cast<float>(op.correction2);
    batch.maxNorm = static_cast<float>(op.maxNorm);
    batch.normSquared = pointer<const float>(op.normSquared);
    const auto blocks = static_cast<unsigned>(std::clamp<std::int64_t>(ceilDiv(largest, 4 * threads), 1, 2048));
    launch("adamw", adamwKernel, dim3{blocks, static_cast<unsigned>(count)}, dim3{threads}, 0, stream, batch);
  }
}

}  // namespace gpu
