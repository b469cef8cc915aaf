// Copies into the layout that micro.h reads fastest: panels of tileColumns columns, [panel][k][tileColumns], the last
// panel filled up with zeros.
#pragma once

#include <algorithm>

#include "micro.h"

namespace lazy_cpu {
namespace LAZY_ISA {

inline std::int64_t panelsOf(std::int64_t columns) { return (columns + tileColumns - 1) / tileColumns; }
inline std::int64_t roundUp(std::int64_t n, std::int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Rows stay rows: from[k][columns], row stride `ld`.
inline void packRows(const float* from, std::int64_t ld, std::int64_t k, std::int64_t columns, float* to) {
  for (std::int64_t column = 0; column < columns; column += tileColumns) {
    const std::int64_t width = std::min<std::int64_t>(tileColumns, columns - column);
    for (std::int64_t p = 0; p < k; ++p, to += tileColumns) {
      const float* row = from + p * ld + column;
      if (width == tileColumns) {
#pragma GCC unroll 4
        for (int j = 0; j < tileVectors; ++j) store(to + j * lanes, load(row + j * lanes));
      } else {
        std::copy_n(row, width, to);
        std::fill(to + width, to + tileColumns, 0.0f);
      }
    }
  }
}

// Four rows of four words, `ld` apart, become columns of rows that are `ldTo` apart: in registers of four lanes, which every
// instruction set has.
template <class Word>
LAZY_INLINE void transposeFour(const Word* from, std::int64_t ld, Word* to, std::int64_t ldTo) {
  typedef Word Four __attribute__((vector_size(16)));
  typedef std::int32_t Index __attribute__((vector_size(16)));
  const auto load4 = [](const Word* p) {
    Four v;
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  const auto store4 = [](Word* p, Four v) { std::memcpy(p, &v, sizeof v); };
  const Four a = load4(from), b = load4(from + ld), c = load4(from + 2 * ld), d = load4(from + 3 * ld);
#if defined(__clang__)
  static_cast<void>(sizeof(Index));
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four AB = __builtin_shufflevector(a, b, 2, 6, 3, 7), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store4(to, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
  store4(to + ldTo, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
  store4(to + 2 * ldTo, __builtin_shufflevector(AB, CD, 0, 1, 4, 5));
  store4(to + 3 * ldTo, __builtin_shufflevector(AB, CD, 2, 3, 6, 7));
#else
  const Index low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, left = {0, 1, 4, 5}, right = {2, 3, 6, 7};
  const Four ab = __builtin_shuffle(a, b, low), cd = __builtin_shuffle(c, d, low);
  const Four AB = __builtin_shuffle(a, b, high), CD = __builtin_shuffle(c, d, high);
  store4(to, __builtin_shuffle(ab, cd, left));
  store4(to + ldTo, __builtin_shuffle(ab, cd, right));
  store4(to + 2 * ldTo, __builtin_shuffle(AB, CD, left));
  store4(to + 3 * ldTo, __builtin_shuffle(AB, CD, right));
#endif
}

// Rows become columns: from[columns][k], row stride `ld`. Four by four.
inline void packColumns(const float* from, std::int64_t ld, std::int64_t k, std::int64_t columns, float* to) {
  for (std::int64_t column = 0; column < columns; column += tileColumns, to += k * tileColumns) {
    const std::int64_t width = std::min<std::int64_t>(tileColumns, columns - column);
    const std::int64_t whole = width / 4 * 4, steps = k / 4 * 4;
    for (std::int64_t j = 0; j < whole; j += 4) {
      const float* row = from + (column + j) * ld;
      for (std::int64_t p = 0; p < steps; p += 4) {
        transposeFour(row + p, ld, to + p * tileColumns + j, tileColumns);
      }
      for (std::int64_t p = steps; p < k; ++p)
        for (int i = 0; i < 4; ++i) to[p * tileColumns + j + i] = row[i * ld + p];
    }
    for (std::int64_t j = whole; j < tileColumns; ++j)
      for (std::int64_t p = 0; p < k; ++p) to[p * tileColumns + j] = j < width ? from[(column + j) * ld + p] : 0.0f;
  }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
