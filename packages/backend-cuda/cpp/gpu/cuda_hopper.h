// gpu/hopper.h on NVIDIA hardware, sm_90a alone.
#pragma once

#include <cuda.h>

#include "gpu/hopper.h"

namespace gpu {

using TensorMap = CUtensorMap;
TensorMap tensorMap(const HeadRows& tensor, int rows);  // device/tensor_map.cpp

// ---- barriers ----
using Phases = std::uint64_t*;

__device__ __forceinline__ void initPhases(Phases at, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sharedAddress(at)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void phasesReady() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void arrive(Phases at) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(sharedAddress(at)) : "memory");
}
__device__ __forceinline__ void arriveExpecting(Phases at, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sharedAddress(at)), "r"(bytes)
               : "memory");
}
// A phase that does not come would hold the GPU for ever: after the time of a lost turn the launch ends with an error. By a trap,
// for a call, as an assertion's, would make the products around it wait for each other.
__device__ __forceinline__ void awaitPhase(Phases at, int parity) {
  unsigned long long began = 0;
  for (;;) {
    std::uint32_t over;
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(over)
                 : "r"(sharedAddress(at)), "r"(parity)
                 : "memory");
    if (over != 0) return;
    const unsigned long long now = nanoseconds();
    if (began == 0) began = now;
    if (now - began > longestTurn) asm volatile("trap;");
  }
}
__device__ __forceinline__ void awaitTurnInline(const int* turn, int value) {
  awaitTurnOr(turn, value, [] { asm volatile("trap;"); });
}
__device__ __forceinline__ void proxyFence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
template <int id, int threads>
__device__ __forceinline__ void namedBarrier() {
  asm volatile("bar.sync %0, %1;" ::"n"(id), "n"(threads) : "memory");
}
template <int count>
__device__ __forceinline__ void keepRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
__device__ __forceinline__ void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

// ---- copies of tiles ----
template <class T>
__device__ __forceinline__ void copyTile(T* to, const TensorMap& map, int column, int head, int row, int batch,
                                         Phases at) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(sharedAddress(to)),
      "l"(&map), "r"(sharedAddress(at)), "r"(column), "r"(head), "r"(row), "r"(batch)
      : "memory");
}

template <class T>
__device__ __forceinline__ void copyRow(T* to, const T* from, int count, Phases at) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   sharedAddress(to)),
               "l"(from), "r"(count * static_cast<int>(sizeof(T))), "r"(sharedAddress(at))
               : "memory");
}

// ---- products ----
// PTX ISA, "Matrix Descriptor Format", with a swizzle of 128 bytes.
using Operand = std::uint64_t;
template <class T>
__device__ __forceinline__ Operand operandAt(T* at, int stride, int lead = 16) {
  return (sharedAddress(at) & 0x3ffff) >> 4 | static_cast<std::uint64_t>(lead >> 4) << 16 |
         static_cast<std::uint64_t>(stride >> 4) << 32 | std::uint64_t{1} << 62;
}

__device__ __forceinline__ void fenceProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Element i of an array, in the order of memory.
template <int n>
__device__ __forceinline__ float& element(float (&x)[n], int i) {
  return x[i];
}
template <int n>
__device__ __forceinline__ std::uint32_t& element(std::uint32_t (&x)[n], int i) {
  return x[i];
}
template <class X, int m, int n>
__device__ __forceinline__ auto& element(X (&x)[m][n], int i) {
  return element(x[i / static_cast<int>(sizeof(X[n]) / 4)], i % static_cast<int>(sizeof(X[n]) / 4));
}
// What the compiler must not move across a wait: a result that is read, an operand whose register it would use again.
template <class X>
__device__ __forceinline__ void hold(X& x) {
  if constexpr (std::is_array_v<X>) {
#pragma unroll
    for (auto& each : x) hold(each);
  } else if constexpr (std::is_same_v<X, float>) {
    asm volatile("" : "+f"(x)::"memory");
  } else {
    asm volatile("" : "+r"(x)::"memory");
  }
}
template <int groupsLeft, class... Registers>
__device__ __forceinline__ void awaitProducts(Registers&... registers) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groupsLeft) : "memory");
  (hold(registers), ...);
}

// One asm statement for each width and each kind of operand A: the results' registers come first, then the operands, whose
// numbers follow from the width. `type` is text that the compiler puts in.
template <class T>
inline constexpr char productType[] = ".bf16";
template <>
inline constexpr char productType<f16>[] = ".f16";
#define LAZY_D4(i) "+f"(element(d, i)), "+f"(element(d, i + 1)), "+f"(element(d, i + 2)), "+f"(element(d, i + 3))
#define LAZY_D16(i) LAZY_D4(i), LAZY_D4(i + 4), LAZY_D4(i + 8), LAZY_D4(i + 12)
#define LAZY_NAMES16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define LAZY_NAMES32 LAZY_NAMES16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define LAZY_NAMES64                                                                                            \
  LAZY_NAMES32                                                                                                  \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, " \
  "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define LAZY_PRODUCT(columns, names, add, type, operands, ...)                                           \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #add ", 0; wgmma.mma_async.sync.aligned.m64n" #columns \
               "k16.f32%" #type "%" #type " {" names "}, " operands "; }"                                \
               : __VA_ARGS__                                                                             \
               : LAZY_OPERANDS                                                                           \
               : "memory")

// Results are rows of 32, 64 or 128 columns: 16, 32 or 64 registers.
template <class T, bool acrossB, class D>
__device__ __forceinline__ void multiply(D& d, const std::uint32_t (&a)[4], Operand b, bool add) {
  static_assert(sizeof(D) == 64 || sizeof(D) == 128 || sizeof(D) == 256, "32, 64 or 128 columns");
#define LAZY_OPERANDS \
  "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add ? 1 : 0), "n"(acrossB ? 1 : 0), "C"(productType<T>)
  if constexpr (sizeof(D) == 64) {
    LAZY_PRODUCT(32, LAZY_NAMES16, 21, 23, "{%16, %17, %18, %19}, %20, p, 1, 1, %22", LAZY_D16(0));
  } else if constexpr (sizeof(D) == 128) {
    LAZY_PRODUCT(64, LAZY_NAMES32, 37, 39, "{%32, %33, %34, %35}, %36, p, 1, 1, %38", LAZY_D16(0), LAZY_D16(16));
  } else {
    LAZY_PRODUCT(128, LAZY_NAMES64, 69, 71, "{%64, %65, %66, %67}, %68, p, 1, 1, %70", LAZY_D16(0), LAZY_D16(16),
                 LAZY_D16(32), LAZY_D16(48));
  }
#undef LAZY_OPERANDS
}
template <class T, bool acrossA, bool acrossB, class D>
__device__ __forceinline__ void multiply(D& d, Operand a, Operand b, bool add) {
  static_assert(sizeof(D) == 64 || sizeof(D) == 128 || sizeof(D) == 256, "32, 64 or 128 columns");
#define LAZY_OPERANDS "l"(a), "l"(b), "r"(add ? 1 : 0), "n"(acrossA ? 1 : 0), "n"(acrossB ? 1 : 0), "C"(productType<T>)
  if constexpr (sizeof(D) == 64) {
    LAZY_PRODUCT(32, LAZY_NAMES16, 18, 21, "%16, %17, p, 1, 1, %19, %20", LAZY_D16(0));
  } else if constexpr (sizeof(D) == 128) {
    LAZY_PRODUCT(64, LAZY_NAMES32, 34, 37, "%32, %33, p, 1, 1, %35, %36", LAZY_D16(0), LAZY_D16(16));
  } else {
    LAZY_PRODUCT(128, LAZY_NAMES64, 66, 69, "%64, %65, p, 1, 1, %67, %68", LAZY_D16(0), LAZY_D16(16), LAZY_D16(32),
                 LAZY_D16(48));
  }
#undef LAZY_OPERANDS
}
#undef LAZY_D4
#undef LAZY_D16
#undef LAZY_NAMES16
#undef LAZY_NAMES32
#undef LAZY_NAMES64
#undef LAZY_PRODUCT

}  // namespace gpu
