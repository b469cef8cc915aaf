// A walk through the rows of a view: all axes but the last, in order.
#pragma once

#include "kernels.h"

namespace lazy_cpu {
namespace LAZY_ISA {

// N operands go along, each with strides of its own; `at` is where the row begins in each.
template <int N>
class Walk {
 public:
  Walk(const ops::Axes& sizes, const ops::Axes* const (&strides)[N], std::int64_t row) : sizes_(sizes) {
    for (int n = 0; n < N; ++n) strides_[n] = strides[n];
    for (std::int64_t axis = sizes.count - 2; axis >= 0; --axis) {
      index_[axis] = row % sizes[axis];
      row /= sizes[axis];
      for (int n = 0; n < N; ++n) at[n] += index_[axis] * (*strides_[n])[axis];
    }
  }

  std::int64_t at[N] = {};

  void next() {
    for (std::int64_t axis = sizes_.count - 2; axis >= 0; --axis) {
      for (int n = 0; n < N; ++n) at[n] += (*strides_[n])[axis];
      if (++index_[axis] < sizes_[axis]) return;
      index_[axis] = 0;
      for (int n = 0; n < N; ++n) at[n] -= sizes_[axis] * (*strides_[n])[axis];
    }
  }

 private:
  const ops::Axes& sizes_;
  const ops::Axes* strides_[N];
  std::int64_t index_[ops::Axes::most] = {};
};

// visit(at, column, out, count) for stretches of rows that make up [begin, end) of the result.
template <int N, class Visit>
LAZY_INLINE void forRows(const ops::Axes& sizes, const ops::Axes* const (&strides)[N], std::int64_t begin,
                         std::int64_t end, const Visit& visit) {
  const std::int64_t width = sizes[sizes.count - 1];
  std::int64_t column = begin % width;
  Walk<N> walk(sizes, strides, begin / width);
  for (std::int64_t out = begin; out < end; walk.next(), column = 0) {
    const std::int64_t count = std::min(width - column, end - out);
    visit(walk.at, column, out, count);
    out += count;
  }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
