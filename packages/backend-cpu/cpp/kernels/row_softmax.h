// The steps of Elastic-Softmax on one row of scores.
#pragma once

#include "row_loops.h"

namespace lazy_cpu {
namespace LAZY_ISA {

struct RowStatistics {
  float top;      // maximum of the scores
  float inverse;  // 1 / sum of exp(score - top)
};

// row[j] = exp(row[j] - top) in place.
LAZY_INLINE RowStatistics exponentials(float* row, std::int64_t count) {
  const float top = maximumOver(count, row);
  const Vector shift = splat(top);
  Vector total = {};
  forEach(count, [&](auto at) {
    const Vector e = exponentialOfNegative(at(row) - shift);
    at.put(row, e);
    total += at.mask(e);
  });
  return {top, 1.0f / sumOf(total)};
}

// row[j] = max(row[j] * inverse + offset, 0), w of spec §Forward, with offset = tau / n.
LAZY_INLINE void elasticWeights(float* row, std::int64_t count, float inverse, float offset) {
  const Vector f = splat(inverse), o = splat(offset);
  forEach(count, [&](auto at) {
    const Vector w = at(row) * f + o;
    at.put(row, w > Vector{} ? w : (w != w ? w : Vector{}));  // NaN stays NaN
  });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
