#include "rope_table.h"

#include <cmath>

namespace lazy_cpu {

const float* RopeTable::get(const lazy_native::Rope& op, ThreadPool& pool) {
  if (op.base == base_ && op.headDim == headDim_ && op.offset == offset_ && op.length == length_) {
    return values_.data();
  }
  const std::int64_t half = op.headDim / 2;
  values_.resize(static_cast<std::size_t>(2 * op.length * half));
  float* cosines = values_.data();
  float* sines = cosines + op.length * half;
  pool.ranges(op.length, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      for (std::int64_t d = 0; d < half; ++d) {
        const double frequency = std::pow(op.base, -2.0 * static_cast<double>(d) / static_cast<double>(op.headDim));
        const double angle = static_cast<double>(op.offset + r) * frequency;
        cosines[r * half + d] = static_cast<float>(std::cos(angle));
        sines[r * half + d] = static_cast<float>(std::sin(angle));
      }
    }
  });
  base_ = op.base;
  length_ = op.length;
  headDim_ = op.headDim;
  offset_ = op.offset;
  return values_.data();
}

}  // namespace lazy_cpu
