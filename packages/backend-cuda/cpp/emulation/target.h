// gpu/target.h on the host: CUDA's words, and the instructions of gpu/target.h, on top of the emulated machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>

#include "emulation/runtime.h"
#include "emulation/shared.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (::emulation::machine().threadIndex())
#define blockIdx (::emulation::machine().blockIndex())
#define gridDim (::emulation::machine().gridSize())
#define blockDim (::emulation::machine().blockSize())
#define __syncthreads() ::emulation::machine().barrier(__LINE__)
#define __syncwarp() ::emulation::machine().warpBarrier(__LINE__)

using dim3 = emulation::Index3;
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

namespace gpu {

struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};

inline float bitsToFloat(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline std::uint32_t floatToBits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

inline float toFloat(float x) { return x; }
inline float toFloat(bf16 x) { return bitsToFloat(static_cast<std::uint32_t>(x.bits) << 16); }
inline float toFloat(f16 x) {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16, exponent = (x.bits >> 10) & 31u, mantissa = x.bits & 0x3ffu;
  if (exponent == 31) return bitsToFloat(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return bitsToFloat(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float value = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -value : value;
}

template <class T>
T fromFloat(float x);
template <>
inline float fromFloat<float>(float x) {
  return x;
}
template <>
inline bf16 fromFloat<bf16>(float x) {
  const std::uint32_t bits = floatToBits(x);
  if (x != x) return {0x7fff};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
template <>
inline f16 fromFloat<f16>(float x) {
  const std::uint32_t bits = floatToBits(x);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {0x7fff};
  if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // rounds to 2^16 or more
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves a multiple of 2^-24, rounded to nearest even
    return {static_cast<std::uint16_t>(sign | (floatToBits(bitsToFloat(magnitude) + 0.5f) - 0x3f000000u))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

// ---- shared memory ----
template <class T>
using Shared = emulation::SharedPointer<T>;
template <class T>
Shared<T> sharedMemory(std::size_t byteOffset = 0) {
  return Shared<T>(byteOffset);
}
template <class To, class From>
Shared<To> sharedCast(Shared<From> p) {
  return Shared<To>(p.offset());
}

template <class T>
void copyAsync16(Shared<T> to, const T* from, bool valid) {
  emulation::machine().copyAsync(to.offset(), from, 16, valid ? 16 : 0);
}
inline void copyAsyncCommit() { emulation::machine().commitAsync(); }
template <int groupsLeft>
void copyAsyncWait() {
  emulation::machine().waitAsync(groupsLeft);
}

// ---- warps ----
template <class T>
T shuffleXor(T value, int mask, int line = __builtin_LINE()) {
  struct Lane {
    T value, result;
    int source;
  };
  Lane self{value, value, emulation::machine().lane() ^ mask};
  emulation::machine().warpCollective(
      [](void* const* lanes) {
        for (int i = 0; i < 32; ++i) {
          auto* lane = static_cast<Lane*>(lanes[i]);
          lane->result = static_cast<Lane*>(lanes[lane->source])->value;
        }
      },
      &self, line);
  return self.result;
}
template <class T>
T shuffle(T value, int source, int line = __builtin_LINE()) {
  struct Lane {
    T value, result;
    int source;
  };
  Lane self{value, value, source & 31};
  emulation::machine().warpCollective(
      [](void* const* lanes) {
        for (int i = 0; i < 32; ++i) {
          auto* lane = static_cast<Lane*>(lanes[i]);
          lane->result = static_cast<Lane*>(lanes[lane->source])->value;
        }
      },
      &self, line);
  return self.result;
}
inline bool warpAny(bool predicate, int line = __builtin_LINE()) {
  struct Lane {
    bool value;
  };
  Lane self{predicate};
  emulation::machine().warpCollective(
      [](void* const* lanes) {
        bool any = false;
        for (int i = 0; i < 32; ++i) any = any || static_cast<Lane*>(lanes[i])->value;
        for (int i = 0; i < 32; ++i) static_cast<Lane*>(lanes[i])->value = any;
      },
      &self, line);
  return self.value;
}

inline int warpMostInteger(int value, int line = __builtin_LINE()) {
  struct Lane {
    int value;
  };
  Lane self{value};
  emulation::machine().warpCollective(
      [](void* const* lanes) {
        int most = static_cast<Lane*>(lanes[0])->value;
        for (int i = 1; i < 32; ++i) most = std::max(most, static_cast<Lane*>(lanes[i])->value);
        for (int i = 0; i < 32; ++i) static_cast<Lane*>(lanes[i])->value = most;
      },
      &self, line);
  return self.value;
}
inline int floatAsInteger(float x) { return static_cast<int>(floatToBits(x)); }
inline float integerAsFloat(int x) { return bitsToFloat(static_cast<std::uint32_t>(x)); }

// ---- between blocks ----
inline int takeTicket(int* next) { return (*next)++; }
// Blocks run one after another, so a turn has come or never will.
inline bool hasTurn(const int* turn, int value) {
  emulation::machine().awaitTurn(turn, value);
  return true;
}
inline void awaitTurn(const int* turn, int value) { emulation::machine().awaitTurn(turn, value); }
inline void passTurn(int* turn, int value) { emulation::machine().passTurn(turn, value); }
inline float4 loadInTurn(const int* turn, const float4* from) {
  emulation::machine().useTurn(turn);
  return *from;
}
inline void storeInTurn(const int* turn, float4* to, float4 value) {
  emulation::machine().useTurn(turn);
  *to = value;
}

// ---- tensor cores ----
namespace detail {
struct LoadLane {
  std::uint32_t* registers;
  std::size_t row;  // where this lane's row of 8 elements of 2 bytes begins
};
// Lane 8t + r gives row r of matrix t; lane l receives elements 2(l%4) and 2(l%4)+1 of row l/4 of each matrix.
template <int matrices, bool transposed>
void loadMatrices(void* const* lanes) {
  for (int t = 0; t < matrices; ++t) {
    std::uint16_t tile[8][8];
    for (int r = 0; r < 8; ++r)
      std::memcpy(tile[r], reinterpret_cast<const void*>(static_cast<LoadLane*>(lanes[8 * t + r])->row), 16);
    for (int l = 0; l < 32; ++l) {
      const int r = l / 4, c = 2 * (l % 4);
      const std::uint32_t low = transposed ? tile[c][r] : tile[r][c],
                          high = transposed ? tile[c + 1][r] : tile[r][c + 1];
      static_cast<LoadLane*>(lanes[l])->registers[t] = low | (high << 16);
    }
  }
}
template <int matrices, bool transposed, class T>
void load(std::uint32_t* registers, Shared<T> row, int line) {
  static const std::uint16_t nothing[8] = {};
  auto& machine = emulation::machine();
  const void* address = nothing;
  if (machine.lane() < 8 * matrices) {
    if (const std::byte* p = machine.sharedRead(row.offset(), 16)) address = p;
  }
  LoadLane self{registers, reinterpret_cast<std::size_t>(address)};
  machine.warpCollective(&loadMatrices<matrices, transposed>, &self, line);
}
struct ProductLane {
  float* c;
  const std::uint32_t *a, *b;
};
template <class T>
T half(std::uint32_t pair, int which) {
  return T{static_cast<std::uint16_t>(which == 0 ? pair & 0xffffu : pair >> 16)};
}
// PTX ISA, "Matrix Fragments for mma.m16n8k16": with g = lane / 4 and t = lane % 4,
// a0..a3 hold rows g, g+8, g, g+8 and columns 2t (+8 for a2, a3); b0, b1 hold rows 2t (+8) of column g; c0..c3 hold rows
// g, g, g+8, g+8 and columns 2t, 2t+1.
template <class T>
void product(void* const* lanes) {
  emulation::machine().countProduct();
  float a[16][16], b[16][8], c[16][8];
  for (int l = 0; l < 32; ++l) {
    const auto& lane = *static_cast<ProductLane*>(lanes[l]);
    const int g = l / 4, t = l % 4;
    for (int h = 0; h < 2; ++h) {
      for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + h] = toFloat(half<T>(lane.a[i], h));
      for (int i = 0; i < 2; ++i) b[2 * t + 8 * i + h][g] = toFloat(half<T>(lane.b[i], h));
      for (int i = 0; i < 2; ++i) c[g + 8 * i][2 * t + h] = lane.c[2 * i + h];
    }
  }
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) {
      for (int j = 0; j < 8; ++j) c[i][j] += a[i][k] * b[k][j];
    }
  }
  for (int l = 0; l < 32; ++l) {
    float* out = static_cast<ProductLane*>(lanes[l])->c;
    for (int i = 0; i < 4; ++i) out[i] = c[l / 4 + 8 * (i / 2)][2 * (l % 4) + i % 2];
  }
}
}  // namespace detail

template <class T>
void loadMatrix4(std::uint32_t (&r)[4], Shared<T> row, int line = __builtin_LINE()) {
  detail::load<4, false>(r, row, line);
}
template <class T>
void loadMatrix4Transposed(std::uint32_t (&r)[4], Shared<T> row, int line = __builtin_LINE()) {
  detail::load<4, true>(r, row, line);
}

template <class T>
void multiplyAdd(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                 int line = __builtin_LINE()) {
  const std::uint32_t b[2] = {b0, b1};
  detail::ProductLane self{c, a, b};
  emulation::machine().warpCollective(&detail::product<T>, &self, line);
}

// ---- arithmetic ----
inline float exp2Fast(float x) { return std::exp2(x); }
inline float log2Fast(float x) { return std::log2(x); }
inline float nanMax(float a, float b) { return a != a || b != b ? NAN : std::fmax(a, b); }
inline float nanMin(float a, float b) { return a != a || b != b ? NAN : std::fmin(a, b); }
template <class T>
std::uint32_t pack(float low, float high) {
  return static_cast<std::uint32_t>(fromFloat<T>(low).bits) |
         (static_cast<std::uint32_t>(fromFloat<T>(high).bits) << 16);
}

inline int opaque(int x) { return x; }
inline float roundedProduct(float a, float b) { return a * b; }
template <class T>
T positivePart(T x) {
  if (toFloat(x) != toFloat(x)) return {0x7fff};
  return toFloat(x) > 0 ? x : T{0};
}
template <class T>
std::uint32_t packPositive(float low, float high) {
  return static_cast<std::uint32_t>(positivePart(fromFloat<T>(low)).bits) |
         (static_cast<std::uint32_t>(positivePart(fromFloat<T>(high)).bits) << 16);
}
inline std::uint32_t positivePair(std::uint32_t pair) {
  const auto one = [](std::uint32_t x) { return toFloat(bf16{static_cast<std::uint16_t>(x)}) > 0 ? 0x3f80u : 0u; };
  return one(pair & 0xffffu) | one(pair >> 16) << 16;
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t sharedBytes, cudaStream_t stream,
            A... arguments) {
  checkGrid(name, grid.y, grid.z);
  emulation::launchKernel(name, grid, block, sharedBytes, stream,
                          [kernel, values = std::tuple<P...>(P(arguments)...)] { std::apply(kernel, values); });
}

}  // namespace gpu
