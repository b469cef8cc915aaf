// The micro-kernel that matrix products and attention share: C[MR, NV * lanes] (+)= A[MR, k] . B[k, NV * lanes], the sums in
// registers.
//
// A is read one scalar at a time with any strides, so row-major, transposed and packed operands need no copy; B in whole
// vectors, row i at b + i * ldb. Sums over k run in one fixed order. Tiles: 8 x 32 with AVX-512, 6 x 16 with AVX2, 8 x 8 with
// NEON. Registers for addresses are as scarce as those for sums, so the rows of A are reached from two pointers, and the
// addresses of C are not kept over the loop. Measurements: docs/kernels/cpu.md.
#pragma once

#include "simd.h"

namespace lazy_cpu {
namespace LAZY_ISA {

#if defined(__AVX512F__)
inline constexpr int tileRows = 8, tileVectors = 2;  // 16 sums + 2 of B + 1 of A of 32 registers
#elif defined(__AVX2__)
inline constexpr int tileRows = 6, tileVectors = 2;  // 12 + 2 + 1 of 16
#elif defined(__aarch64__)
inline constexpr int tileRows = 8, tileVectors = 2;  // 16 + 2 + 2 of 32
#else
inline constexpr int tileRows = 4, tileVectors = 2;  // 8 + 2 + 1 of 16
#endif
inline constexpr int tileColumns = tileVectors * lanes;
static_assert(tileRows <= 8, "dispatch below lists the row counts");

template <int MR, int NV>
inline void micro(std::int64_t k, const float* a, std::int64_t rowStride, std::int64_t stepStride, const float* b,
                  std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate) {
  Vector sums[MR][NV] = {};
  // C is far away and needed last: its lines come while the sums are made.
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    __builtin_prefetch(c + i * ldc, 1);
    __builtin_prefetch(c + i * ldc + NV * lanes - 1, 1);
  }
  const float* far = a + 4 * rowStride;
  asm("" : "+r"(far));  // else it is a + 4 * rowStride again
  for (std::int64_t p = 0; p < k; ++p) {
    Vector row[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) row[j] = load(b + j * lanes);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      // A name of its own: GCC 12 with UndefinedBehaviorSanitizer misreads (i < 4 ? a : far)[..].
      const float* rows = i < 4 ? a : far;
      const Vector x = splat(rows[i % 4 * rowStride]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sums[i][j] += x * row[j];
    }
    a += stepStride;
    far += stepStride;
    b += ldb;
  }
  asm("" : "+r"(c), "+r"(ldc));  // else the addresses that the prefetches needed are kept until here
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      float* out = c + i * ldc + j * lanes;
      store(out, accumulate ? load(out) + sums[i][j] : sums[i][j]);
    }
  }
}

// The same for 1 to tileRows rows; whole tiles take the first branch.
template <int NV = tileVectors>
inline void microRows(int rows, std::int64_t k, const float* a, std::int64_t rowStride, std::int64_t stepStride,
                      const float* b, std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate) {
  switch (rows) {
    case 8:
      if constexpr (tileRows >= 8) return micro<8, NV>(k, a, rowStride, stepStride, b, ldb, c, ldc, accumulate);
      break;
    case 7:
      if constexpr (tileRows >= 7) return micro<7, NV>(k, a, rowStride, stepStride, b, ldb, c, ldc, accumulate);
      break;
    case 6:
      if constexpr (tileRows >= 6) return micro<6, NV>(k, a, rowStride, stepStride, b, ldb, c, ldc, accumulate);
      break;
    case 5:
      if constexpr (tileRows >= 5) return micro<5, NV>(k, a, rowStride, stepStride, b, ldb, c, ldc, accumulate);
      break;
    case 4:
      return micro<4, NV>(k, a, rowStride, stepStride, b, ldb, c, ldc, accumulate);
    case 3:
      return micro<3, NV>(k, a, rowStride, stepStride, b, ldb, c, ldc, accumulate);
    case 2:
      return micro<2, NV>(k, a, rowStride, stepStride, b, ldb, c, ldc, accumulate);
    case 1:
      return micro<1, NV>(k, a, rowStride, stepStride, b, ldb, c, ldc, accumulate);
    default:
      break;
  }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
