// The sum that all reductions share.
#pragma once

#include <algorithm>

#include "simd.h"

namespace lazy_cpu {
namespace LAZY_ISA {

// Sum of f(x) over [0, count): eight vectors of partial sums in f32, added up in double every 4096 elements. `fill` stands
// beyond the end; f of it must be 0.
template <class F>
LAZY_INLINE double blockSum(const float* x, std::int64_t count, const F& f, float fill = 0) {
  double total = 0;
  for (std::int64_t block = 0; block < count; block += 4096) {
    const std::int64_t end = std::min(block + 4096, count);
    Vector sums[8] = {};
    std::int64_t i = block;
    for (; i + 8 * lanes <= end; i += 8 * lanes)
#pragma GCC unroll 8
      for (int v = 0; v < 8; ++v) sums[v] += f(load(x + i + v * lanes));
    for (; i < end; i += lanes) {
      const std::int64_t left = end - i;
      sums[0] += f(left >= lanes ? load(x + i) : loadSome(x + i, left, fill));
    }
    total += static_cast<double>(
        sumOf(((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))));
  }
  return total;
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
