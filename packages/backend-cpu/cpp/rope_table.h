// Cosines and sines of rotary embedding, computed in double (spec §RoPE; angles good to f32 at position 1e6 need
// more than f32) and kept for the next call, since all layers of a model ask for the same ones.
#pragma once

#include <cstdint>
#include <vector>

#include "lazy_native/ops.h"
#include "thread_pool.h"

namespace lazy_cpu {

class RopeTable {
 public:
  // [length, headDim / 2] pairs (cos, sin), as two planes: cosines, then sines.
  const float* get(const lazy_native::Rope& op, ThreadPool& pool);

 private:
  std::vector<float> values_;
  double base_ = 0;
  std::int64_t length_ = 0, headDim_ = 0, offset_ = 0;
};

}  // namespace lazy_cpu
