// What the kernels' source files share. Sources of the host include kernels.h alone.
#pragma once

#include "gpu/target.h"
#include "kernels/kernels.h"

namespace gpu {

// Calls f with a value of the C++ type of a floating element type.
template <class F>
void withFloatType(DType dtype, F f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    case DType::f16:
      return f(f16{});
    default:
      throw Unsupported("internal: floating op on another type");
  }
}

template <class T>
T* pointer(const Tensor& t) {
  return static_cast<T*>(t.data);
}

// Rows of `width` elements begin at multiples of 16 bytes, so that one load brings as many.
inline bool readsRuns(const Tensor& t, std::int64_t width) {
  const auto elements = static_cast<std::int64_t>(16 / bytesPerElement(t.dtype));
  return width % elements == 0 && reinterpret_cast<std::uintptr_t>(t.data) % 16 == 0;
}

inline unsigned gridSize(std::int64_t items, std::int64_t perBlock) {
  const std::int64_t blocks = ceilDiv(items, perBlock);
  if (blocks > 0x7fffffff) throw Unsupported("tensors of more than 2^31 blocks");
  return static_cast<unsigned>(blocks);
}

}  // namespace gpu
