// What kernels are written against. The same sources compile for NVIDIA GPUs (cuda_target.h) and for the host
// (emulation/target.h); everything a kernel does beyond plain C++ arithmetic goes through these names:
//
//   threadIdx blockIdx gridDim blockDim __syncthreads __syncwarp   as in CUDA
//   bf16 f16 toFloat fromFloat<T> pack<T>       element types; pack puts two into a register
//   Shared<T> sharedMemory<T>(offset) sharedCast   dynamic shared memory; kernels use no static one
//   copyAsync16 copyAsyncCommit copyAsyncWait<n>   cp.async of 16 bytes, zero filled where invalid
//   shuffleXor shuffle warpAny warpMostInteger   whole warps only
//   takeTicket                                   what the counter holds, which then holds one more
//   awaitTurn hasTurn passTurn loadInTurn storeInTurn   results that blocks add to one after another: one thread waits for the
//                                                turn, or looks whether it has come, a barrier later all use it, a barrier later one passes it on
//   loadMatrix4(Transposed) multiplyAdd<T>       ldmatrix.x4 and mma.m16n8k16 with f32 accumulators
//   exp2Fast log2Fast                            the approximate instructions; the f32 paths use expf and logf
//   opaque                                       its argument, of which the compiler knows nothing: what follows stays in its loop
//   roundedProduct                               a * b, never fused with a following sum
//   packPositive<T> positivePair                 two numbers rounded, max with 0 (NaN stays); 1 where a bf16 of a pair is > 0
//   nanMax nanMin                                NaN where either is; fmaxf and fminf prefer the number
//   launch(name, kernel, grid, block, sharedBytes, stream, arguments...)
#pragma once

#ifdef LAZY_EMULATED
#include "device/check.h"
#include "emulation/target.h"
#else
#include "gpu/cuda_target.h"
#endif

namespace gpu {

// Where a running maximum begins. Finite, so that exp(lowest - lowest) is 1 and not NaN; no finite score lies below it. Keys
// that are not attended have the score -infinity.
inline constexpr float lowest = -3.402823466e38f;
inline constexpr float log2e = 1.4426950408889634f;
inline constexpr float ln2 = 0.6931471805599453f;

template <class A, class B>
__host__ __device__ constexpr auto ceilDiv(A a, B b) {
  return (a + b - 1) / b;
}

__device__ __forceinline__ float warpSum(float x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) x += shuffleXor(x, mask);
  return x;
}
__device__ __forceinline__ float warpMax(float x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) x = fmaxf(x, shuffleXor(x, mask));
  return x;
}

// The largest of the warp's x, by one instruction: as integers, floats have their own order once the negative ones are
// turned around.
__device__ __forceinline__ float warpMost(float x) {
  const int bits = floatAsInteger(x);
  const int most = warpMostInteger(bits ^ ((bits >> 31) & 0x7fffffff));
  return integerAsFloat(most ^ ((most >> 31) & 0x7fffffff));
}

// Sum over the block, the same on every thread and run. `scratch` holds a float per warp and may be reused after.
template <int threads>
__device__ __forceinline__ float blockSum(float x, Shared<float> scratch) {
  x = warpSum(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  float total = 0;
#pragma unroll
  for (int w = 0; w < threads / 32; ++w) total += scratch[w];
  __syncthreads();
  return total;
}
template <int threads>
__device__ __forceinline__ float blockMax(float x, Shared<float> scratch) {
  x = warpMax(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  float most = scratch[0];
#pragma unroll
  for (int w = 1; w < threads / 32; ++w) most = fmaxf(most, scratch[w]);
  __syncthreads();
  return most;
}

}  // namespace gpu
