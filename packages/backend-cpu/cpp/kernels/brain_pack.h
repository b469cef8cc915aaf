// Copies of bf16 matrices into the panels of tiles that products of bf16 read (brain_tiles.h), filled up with zeros.
#pragma once

#include <algorithm>

#include "brain_tiles.h"
#include "pack.h"

namespace lazy_cpu {
namespace LAZY_ISA {

// An operand: entry (line, p) at data[line * line_ + p * step], where one of both is 1. Lines are rows of A or columns of B.
struct Lines {
  const std::uint16_t* data;
  std::int64_t apart, step, count;
  bool columns;  // a tile of B: pairs of k first
};

// 16 lines by 32 of k, of which `lines` and `depth` are there.
inline void packPart(const Lines& x, std::int64_t lines, std::int64_t depth, std::uint16_t* to) {
  std::fill_n(to, tileHalves, std::uint16_t{0});
  for (std::int64_t i = 0; i < lines; ++i)
    for (std::int64_t p = 0; p < depth; ++p)
      to[x.columns ? p / 2 * 2 * tileSide + 2 * i + p % 2 : i * tileDepth + p] = x.data[i * x.apart + p * x.step];
}

// Pairs of k of 16 lines that lie side by side, as words: [pair][line].
inline void packPairs(const Lines& x, std::uint32_t* to) {
  for (int p = 0; p < tileSide; ++p)
    for (int i = 0; i < tileSide; i += lanes) {
      Halves even, odd;
      std::memcpy(&even, x.data + 2 * p * x.step + i, sizeof even);
      std::memcpy(&odd, x.data + (2 * p + 1) * x.step + i, sizeof odd);
      const Unsigned both = __builtin_convertvector(even, Unsigned) | __builtin_convertvector(odd, Unsigned) << 16;
      std::memcpy(to + p * tileSide + i, &both, sizeof both);
    }
}

inline void transposeWords(const std::uint32_t* from, std::int64_t ld, std::uint32_t* to) {
  for (int i = 0; i < tileSide; i += 4)
    for (int j = 0; j < tileSide; j += 4) transposeFour(from + i * ld + j, ld, to + j * tileSide + i, tileSide);
}

inline void packTile(const Lines& x, std::uint16_t* to) {
  auto* const words = reinterpret_cast<std::uint32_t*>(to);
  if (x.step == 1) {  // pairs lie in a line: [line][pair]
    if (!x.columns) {
      for (int i = 0; i < tileSide; ++i) std::memcpy(to + i * tileDepth, x.data + i * x.apart, tileDepth * 2);
    } else if (x.apart % 2 == 0) {
      transposeWords(reinterpret_cast<const std::uint32_t*>(x.data), x.apart / 2, words);
    } else {
      packPart(x, tileSide, tileDepth, to);
    }
  } else if (x.columns) {
    packPairs(x, words);
  } else {
    std::uint32_t pairs[tileSide * tileSide];
    packPairs(x, pairs);
    transposeWords(pairs, tileSide, words);
  }
}

// Steps [first, last) of a panel: lines [line, line + 32) of x, k long.
inline void packPanel(const Lines& x, std::int64_t line, std::int64_t k, std::int64_t first, std::int64_t last,
                      std::uint16_t* to) {
  for (std::int64_t step = first; step < last; ++step)
    for (int half = 0; half < 2; ++half, to += tileHalves) {
      const std::int64_t begin = line + half * tileSide, p = step * tileDepth;
      const std::int64_t lines = std::clamp<std::int64_t>(x.count - begin, 0, tileSide);
      const std::int64_t depth = std::min(tileDepth, k - p);
      const Lines part{x.data + begin * x.apart + p * x.step, x.apart, x.step, lines, x.columns};
      if (lines == tileSide && depth == tileDepth) {
        packTile(part, to);
      } else {
        packPart(part, lines, depth, to);
      }
    }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
