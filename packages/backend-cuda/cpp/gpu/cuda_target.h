// gpu/target.h on NVIDIA hardware, compute capability 8.0 and later.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <tuple>

#include "device/check.h"

namespace gpu {

using bf16 = __nv_bfloat16;
using f16 = __half;

__device__ __forceinline__ float toFloat(float x) { return x; }
__device__ __forceinline__ float toFloat(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float toFloat(f16 x) { return __half2float(x); }
template <class T>
__device__ __forceinline__ T fromFloat(float x);
template <>
__device__ __forceinline__ float fromFloat<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 fromFloat<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ f16 fromFloat<f16>(float x) {
  return __float2half_rn(x);
}

// ---- shared memory ----
template <class T>
using Shared = T*;
template <class T>
__device__ __forceinline__ T* sharedMemory(unsigned byteOffset = 0) {
  // As tiles in the 128-byte swizzle want it (gpu/hopper.h).
  extern __shared__ __align__(1024) unsigned char lazySharedMemory[];
  return reinterpret_cast<T*>(lazySharedMemory + byteOffset);
}
template <class To, class From>
__device__ __forceinline__ To* sharedCast(From* p) {
  return reinterpret_cast<To*>(p);
}

__device__ __forceinline__ std::uint32_t sharedAddress(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}
// 16 bytes that arrive by the matching wait; zeros, and no read of `from`, unless valid.
template <class T>
__device__ __forceinline__ void copyAsync16(T* to, const T* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copyAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int groupsLeft>
__device__ __forceinline__ void copyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groupsLeft) : "memory");
}

// ---- warps ----
template <class T>
__device__ __forceinline__ T shuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <class T>
__device__ __forceinline__ T shuffle(T value, int source) {
  return __shfl_sync(0xffffffffu, value, source);
}
__device__ __forceinline__ bool warpAny(bool predicate) { return __any_sync(0xffffffffu, predicate); }

__device__ __forceinline__ int warpMostInteger(int value) { return __reduce_max_sync(0xffffffffu, value); }
__device__ __forceinline__ int floatAsInteger(float x) { return __float_as_int(x); }
__device__ __forceinline__ float integerAsFloat(int x) { return __int_as_float(x); }

// ---- between blocks ----
__device__ __forceinline__ int takeTicket(int* next) { return atomicAdd(next, 1); }
__device__ __forceinline__ unsigned long long nanoseconds() {
  unsigned long long now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}
// Whether the turn has come.
__device__ __forceinline__ bool hasTurn(const int* turn, int value) {
  int now;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(now) : "l"(turn) : "memory");
  return now == value;
}
// A turn that does not come would hold the GPU for ever: after this long the launch ends with an error that says so.
inline constexpr unsigned long long longestTurn = 20'000'000'000;
template <class Lost>
__device__ __forceinline__ void awaitTurnOr(const int* turn, int value, const Lost& lost) {
  const unsigned long long began = nanoseconds();
  for (;;) {
    if (hasTurn(turn, value)) return;
    __nanosleep(40);
    if (nanoseconds() - began > longestTurn) lost();
  }
}
__device__ __forceinline__ void awaitTurn(const int* turn, int value) {
  awaitTurnOr(turn, value, [] {
#ifdef __CUDA_ARCH__  // only the device always has this function
    __assert_fail("a turn was lost: 20 s without it", __FILE__, __LINE__, "awaitTurn");
#endif
  });
}
__device__ __forceinline__ void passTurn(int* turn, int value) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(turn), "r"(value) : "memory");
}
// Past the L1 caches, which know nothing of each other.
__device__ __forceinline__ float4 loadInTurn(const int*, const float4* from) { return __ldcg(from); }
__device__ __forceinline__ void storeInTurn(const int*, float4* to, float4 value) { __stcg(to, value); }

// ---- tensor cores ----
template <class T>
__device__ __forceinline__ void loadMatrix4(std::uint32_t (&r)[4], const T* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(row))
               : "memory");
}
template <class T>
__device__ __forceinline__ void loadMatrix4Transposed(std::uint32_t (&r)[4], const T* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(row))
               : "memory");
}
template <class T>
__device__ __forceinline__ void multiplyAdd(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                            std::uint32_t b1);
template <>
__device__ __forceinline__ void multiplyAdd<bf16>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                  std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void multiplyAdd<f16>(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                 std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- arithmetic ----
__device__ __forceinline__ float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float log2Fast(float x) { return __log2f(x); }
__device__ __forceinline__ float nanMax(float a, float b) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}
__device__ __forceinline__ float nanMin(float a, float b) {
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}
__device__ __forceinline__ int opaque(int x) {
  asm volatile("" : "+r"(x));
  return x;
}
__device__ __forceinline__ float roundedProduct(float a, float b) { return __fmul_rn(a, b); }
template <class T>
__device__ __forceinline__ std::uint32_t packPositive(float low, float high);
template <>
__device__ __forceinline__ std::uint32_t packPositive<bf16>(float low, float high) {
  std::uint32_t r;
  asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
template <>
__device__ __forceinline__ std::uint32_t packPositive<f16>(float low, float high) {
  std::uint32_t r;
  asm("cvt.rn.relu.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
// Of a pair of bf16 that are not negative. 0 or 1 for NaN.
__device__ __forceinline__ std::uint32_t positivePair(std::uint32_t pair) {
  std::uint32_t r;
#if __CUDA_ARCH__ >= 900
  asm("set.gt.bf16x2.bf16x2 %0, %1, %2;" : "=r"(r) : "r"(pair), "r"(0u));
#else
  // No normal number times 2^126 is below 1.
  asm("{ .reg .b32 t; fma.rn.bf16x2 t, %1, %2, %3; min.bf16x2 %0, t, %4; }"
      : "=r"(r)
      : "r"(pair), "r"(0x7e807e80u), "r"(0u), "r"(0x3f803f80u));
#endif
  return r;
}
// Two numbers in one register, `low` in the lower half.
template <class T>
__device__ __forceinline__ std::uint32_t pack(float low, float high);
template <>
__device__ __forceinline__ std::uint32_t pack<bf16>(float low, float high) {
  std::uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
template <>
__device__ __forceinline__ std::uint32_t pack<f16>(float low, float high) {
  std::uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t sharedBytes, cudaStream_t stream,
            A... arguments) {
  checkGrid(name, grid.y, grid.z);
  if (sharedBytes > 48 * 1024) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(sharedBytes)),
          name);
  }
  // Not <<<>>> and cudaGetLastError, which would give this kernel the blame for an earlier call.
  std::tuple<P...> values{P(arguments)...};
  std::apply(
      [&](P&... each) {
        void* pointers[] = {static_cast<void*>(&each)...};
        check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, sharedBytes, stream),
              name);
      },
      values);
}

}  // namespace gpu
