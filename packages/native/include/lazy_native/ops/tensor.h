// What the structs of the ops are made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace lazy_native {

// Names that JavaScript knows too: an enumeration, and the names in its order.
#define LAZY_ENUMERATOR(name) name,
#define LAZY_NAME(name) #name,
#define LAZY_CHOICE(Type, LIST)                             \
  enum class Type : std::uint8_t { LIST(LAZY_ENUMERATOR) }; \
  inline std::vector<const char*> namesOf(Type) { return {LIST(LAZY_NAME)}; }

#define LAZY_DTYPES(DTYPE) \
  DTYPE(f32) DTYPE(bf16) DTYPE(f16) DTYPE(i32) DTYPE(w4) DTYPE(w8) DTYPE(w4k) DTYPE(w8k) DTYPE(w16)
LAZY_CHOICE(DType, LAZY_DTYPES)

// Packed weights are core's (packed.ts): 4 or 8 bits with scales, perhaps offsets, and perhaps factors of both, or bf16.
inline constexpr bool isPackedType(DType dtype) { return dtype >= DType::w4; }
static_assert(DType::w16 > DType::w4 && DType::i32 < DType::w4, "the packed types are the last ones");

// Of packed weights 512 elements are a block.
inline constexpr std::size_t packedBlock = 512;
inline constexpr std::size_t packedBlockBytes(DType dtype) {
  switch (dtype) {
    case DType::w4:
      return 320;
    case DType::w8:
      return 544;
    case DType::w4k:
      return 352;
    case DType::w8k:
      return 640;
    default:
      return 1024;
  }
}

// Not of packed weights.
inline constexpr std::size_t bytesPerElement(DType dtype) { return dtype == DType::f32 || dtype == DType::i32 ? 4 : 2; }

inline constexpr std::size_t bytesOf(DType dtype, std::int64_t elements) {
  const auto count = static_cast<std::size_t>(elements);
  return isPackedType(dtype) ? count / packedBlock * packedBlockBytes(dtype) : count * bytesPerElement(dtype);
}
// The inverse, for a whole number of elements or blocks.
inline constexpr std::int64_t elementsIn(DType dtype, std::size_t bytes) {
  return static_cast<std::int64_t>(isPackedType(dtype) ? bytes / packedBlockBytes(dtype) * packedBlock
                                                       : bytes / bytesPerElement(dtype));
}

// Device memory as an op sees it. `data` is a device address; nullptr stands for an optional tensor that is absent.
struct Tensor {
  void* data = nullptr;
  std::int64_t size = 0;  // elements
  DType dtype = DType::f32;

  explicit operator bool() const { return data != nullptr; }
  std::size_t bytes() const { return bytesOf(dtype, size); }
};

// Sizes or strides of the merged axes of a view, the last one fastest.
struct Axes {
  static constexpr std::size_t most = 8;  // MAX_VIEW_AXES of core

  std::int64_t count = 0;
  std::array<std::int64_t, most> at{};

  std::int64_t operator[](std::int64_t axis) const { return at[static_cast<std::size_t>(axis)]; }
};

// Sizes are valid by contract, but memory is allocated by what follows from them: it must not wrap around.
inline std::int64_t times(std::int64_t a, std::int64_t b) {
  if (a < 0 || b < 0 || (a > 0 && b > std::numeric_limits<std::int64_t>::max() / a))
    throw std::length_error("no tensor has " + std::to_string(a) + " x " + std::to_string(b) + " elements");
  return a * b;
}
template <class... Sizes>
std::int64_t times(std::int64_t a, std::int64_t b, Sizes... more) {
  return times(times(a, b), more...);
}
// How often `part` fits.
inline std::int64_t quotient(std::int64_t whole, std::int64_t part) {
  if (part <= 0) throw std::invalid_argument("a size is " + std::to_string(part));
  return whole / part;
}

inline std::int64_t productOf(const Axes& sizes) {
  std::int64_t product = 1;
  for (std::int64_t axis = 0; axis < sizes.count; ++axis) product = times(product, sizes[axis]);
  return product;
}

}  // namespace lazy_native
