// Device memory handed out piece by piece, for ops whose scratch has several parts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lazy_native/ops/tensor.h"

namespace lazy_native {

inline constexpr std::size_t cacheLine = 64;  // bytes, of all CPUs that are built for

// Pieces begin at multiples of `alignment`, as the memory does. Without memory (nullptr) it only counts.
class Pieces {
 public:
  Pieces(void* memory, std::size_t alignment) : memory_(static_cast<char*>(memory)), alignment_(alignment) {}

  void* take(std::size_t size) {
    void* const taken = rest();
    bytes_ += (size + alignment_ - 1) / alignment_ * alignment_;
    return taken;
  }
  Tensor take(std::int64_t size, DType dtype) { return {take(bytesOf(dtype, size)), size, dtype}; }
  // What lies behind all that was taken.
  void* rest() const { return memory_ == nullptr ? nullptr : memory_ + bytes_; }
  // That were taken.
  std::size_t bytes() const { return bytes_; }

 private:
  char* memory_;
  std::size_t alignment_, bytes_ = 0;
};

}  // namespace lazy_native
