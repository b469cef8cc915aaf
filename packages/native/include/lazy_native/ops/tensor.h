// What the structs of the ops are made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lazy_native {

// Names that JavaScript knows too: an enumeration, and the names in its order.
#define LAZY_ENUMERATOR(name) name,
#define LAZY_NAME(name) #name,
#define LAZY_CHOICE(Type, LIST)                             \
  enum class Type : std::uint8_t { LIST(LAZY_ENUMERATOR) }; \
  inline std::vector<const char*> namesOf(Type) { return {LIST(LAZY_NAME)}; }

#define LAZY_DTYPES(DTYPE) DTYPE(f32) DTYPE(bf16) DTYPE(f16) DTYPE(i32)
LAZY_CHOICE(DType, LAZY_DTYPES)

inline constexpr std::size_t bytesPerElement(DType dtype) { return dtype == DType::f32 || dtype == DType::i32 ? 4 : 2; }

// Device memory as an op sees it. `data` is a device address; nullptr stands for an optional tensor that is absent.
struct Tensor {
  void* data = nullptr;
  std::int64_t size = 0;  // elements
  DType dtype = DType::f32;

  explicit operator bool() const { return data != nullptr; }
  std::size_t bytes() const { return static_cast<std::size_t>(size) * bytesPerElement(dtype); }
};

// Sizes or strides of the merged axes of a view, the last one fastest.
struct Axes {
  static constexpr std::size_t most = 8;  // MAX_VIEW_AXES of core

  std::int64_t count = 0;
  std::array<std::int64_t, most> at{};

  std::int64_t operator[](std::int64_t axis) const { return at[static_cast<std::size_t>(axis)]; }
};

inline std::int64_t productOf(const Axes& sizes) {
  std::int64_t product = 1;
  for (std::int64_t axis = 0; axis < sizes.count; ++axis) product *= sizes[axis];
  return product;
}

}  // namespace lazy_native
