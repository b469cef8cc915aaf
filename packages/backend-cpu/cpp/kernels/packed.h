// Packed weights as vectors of rows; their layout is core's (packed.ts): 16 rows lie together, and of those block after block of 32
// columns. So a vector holds a column of some rows, sums need no lanes added up, and a panel of micro.h is stored without transposing.
//
// A block's weights are scale * code + offset. Codes of 4 bits are centred here, so that their products with activations do not
// cancel against the offset's more than the weights themselves do.
#pragma once

#include "kernels.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lazy_cpu {
namespace LAZY_ISA {

inline constexpr int packedRows = 16, packedColumns = 32;
static_assert(packedRows % lanes == 0, "a vector is a part of a group of rows");

inline bool isPacked(const ops::Tensor& x) { return ops::isPackedType(x.dtype); }

// Halves (f16) from `p` on, exactly: exponent and fraction in a float's places are 2^112 too small. No infinities, as core sees to.
LAZY_INLINE Vector halves(const std::uint16_t* p) {
  typedef std::uint16_t Narrow __attribute__((vector_size(lanes * 2)));
  Narrow narrow;
  std::memcpy(&narrow, p, sizeof narrow);
  const Unsigned bits = __builtin_convertvector(narrow, Unsigned);
  return reinterpret_cast<Vector>((bits & 0x8000u) << 16 | (bits & 0x7fffu) << 13) * splat(0x1p112f);
}
LAZY_INLINE Unsigned wordsAt(const std::uint32_t* p) {
  Unsigned v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Bytes with a sign from `p` on.
LAZY_INLINE Vector bytesAt(const signed char* p) {
  // GCC 12 converts bytes to words one by one.
#if defined(__AVX512F__)
  const __m512i codes = _mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return __builtin_convertvector(reinterpret_cast<Integers>(codes), Vector);
#elif defined(__AVX2__)
  return reinterpret_cast<Vector>(
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))));
#else
  Integers codes;
  for (int lane = 0; lane < lanes; ++lane) codes[lane] = p[lane];
  return __builtin_convertvector(codes, Vector);
#endif
}

// Each format: for every `columns` columns something is loaded, which `code` takes apart. A block has `parts` parts with a scale, and
// perhaps an offset, of their own. `row` is the first of the vector's.
struct FourBits {
  static constexpr int header = 16, words = 80, columns = 8, parts = 1;
  static constexpr bool scaled = true, shifted = true;
  static constexpr float centre = 7.5f;  // taken from the codes
  static Unsigned load(const std::uint32_t* block, int row, int i) { return wordsAt(block + 16 + 16 * i + row); }
  static LAZY_INLINE Vector code(Unsigned v, int column) {
#if defined(__AVX512F__)
    // A table instead of converting: only the four low bits of an index count.
    const __m512 codes = _mm512_setr_ps(-7.5f, -6.5f, -5.5f, -4.5f, -3.5f, -2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f, 3.5f,
                                        4.5f, 5.5f, 6.5f, 7.5f);
    return reinterpret_cast<Vector>(_mm512_permutexvar_ps(reinterpret_cast<__m512i>(v >> (4 * column)), codes));
#else
    return __builtin_convertvector(reinterpret_cast<Integers>(v >> (4 * column) & 15u), Vector) - splat(centre);
#endif
  }
  static LAZY_INLINE Vector scale(const std::uint32_t* block, int row, int) {
    return halves(reinterpret_cast<const std::uint16_t*>(block) + row);
  }
  static LAZY_INLINE Vector offset(const std::uint32_t* block, int row, int) {
    return halves(reinterpret_cast<const std::uint16_t*>(block) + packedRows + row);
  }
};

struct EightBits {
  static constexpr int header = 8, words = 136, columns = 1, parts = 1;
  static constexpr bool scaled = true, shifted = false;
  static constexpr float centre = 0;
  static LAZY_INLINE Vector load(const std::uint32_t* block, int row, int i) {
    return bytesAt(reinterpret_cast<const signed char*>(block + 8) + packedRows * i + row);
  }
  static LAZY_INLINE Vector code(Vector v, int) { return v; }
  static LAZY_INLINE Vector scale(const std::uint32_t* block, int row, int) { return FourBits::scale(block, row, 0); }
};

// Scales and offsets in f16, then their factors, `parts` bytes of each row, then the codes of another format.
template <class Codes, int PARTS>
struct Scaled {
  static constexpr int parts = PARTS, columns = Codes::columns;
  static constexpr int words = packedRows + parts * packedRows / 2 + Codes::words - Codes::header;
  static constexpr bool scaled = true, shifted = true;
  static constexpr float centre = Codes::centre;
  static LAZY_INLINE auto load(const std::uint32_t* block, int row, int i) {
    // Where the other format would have begun.
    return Codes::load(block + words - Codes::words, row, i);
  }
  template <class Loaded>
  static LAZY_INLINE Vector code(Loaded v, int column) {
    return Codes::code(v, column);
  }
  static LAZY_INLINE Vector factor(const std::uint32_t* block, int row, int index) {
    return bytesAt(reinterpret_cast<const signed char*>(block + packedRows) + packedRows * index + row);
  }
  static LAZY_INLINE Vector scale(const std::uint32_t* block, int row, int part) {
    return FourBits::scale(block, row, 0) * factor(block, row, part);
  }
  static LAZY_INLINE Vector offset(const std::uint32_t* block, int row, int part) {
    return FourBits::offset(block, row, 0) * factor(block, row, parts + part);
  }
};
using ScaledFourBits = Scaled<FourBits, 1>;
using ScaledEightBits = Scaled<EightBits, 2>;
static_assert(ScaledFourBits::words == 88 && ScaledEightBits::words == 160, "core's blocks");

struct BrainFloats {
  static constexpr int words = 256, columns = 2, parts = 1;
  static constexpr bool scaled = false, shifted = false;
  static constexpr float centre = 0;
  static Unsigned load(const std::uint32_t* block, int row, int i) { return wordsAt(block + 16 * i + row); }
  static LAZY_INLINE Vector code(Unsigned v, int column) {
    return reinterpret_cast<Vector>(column == 0 ? v << 16 : v & 0xffff0000u);
  }
};

// Calls f with the format of a packed tensor.
template <class F>
decltype(auto) withFormat(const ops::Tensor& x, const F& f) {
  switch (x.dtype) {
    case ops::DType::w4:
      return f(FourBits{});
    case ops::DType::w8:
      return f(EightBits{});
    case ops::DType::w4k:
      return f(ScaledFourBits{});
    case ops::DType::w8k:
      return f(ScaledEightBits{});
    default:
      return f(BrainFloats{});
  }
}

// Most rows of a product with few (matmul_thin.cpp).
inline constexpr std::int64_t mostRows = 4;
// Part of one: (op, a, b, c, begin, end) of its items.
using Stretch = void (*)(const ops::Matmul&, const float*, const float*, float*, std::int64_t, std::int64_t);
// The same with packed weights, and its number of items (packed_dots.cpp).
Stretch packedStretch(const ops::Matmul&);
std::int64_t packedStretchLength(const ops::Matmul&);

// Products of packed weights with many rows on tiles (packed_tiles.cpp), where the processor has them.
bool tilesTake(const ops::Matmul&, BrainUnit);
std::size_t tilesWorkspace(const ops::Matmul&);
void matmulTiles(const ops::Matmul&, Runtime&, float* workspace);

// Scale and offset of a part of a block: 1 and 0 where the format has none.
template <class Format>
LAZY_INLINE Vector scaleOf(const std::uint32_t* block, int row, int part) {
  if constexpr (Format::scaled) return Format::scale(block, row, part);
  return splat(1);
}
template <class Format>
LAZY_INLINE Vector offsetOf(const std::uint32_t* block, int row, int part) {
  if constexpr (Format::shifted) return Format::offset(block, row, part);
  return Vector{};
}

// Of a matrix with sums of length k: the block of a row (its group's) and column.
template <class Format>
const std::uint32_t* blockAt(const ops::Tensor& x, std::int64_t k, std::int64_t row, std::int64_t column) {
  const std::int64_t index = row / packedRows * (k / packedColumns) + column / packedColumns;
  return static_cast<const std::uint32_t*>(x.data) + index * Format::words;
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
