// Products of few rows with packed weights, as in decoding: the time is that of reading the weights, of which a block of 16 rows by
// 32 columns is 320 (w4), 352 (w4k), 544 (w8), 640 (w8k) or 1024 bytes (w16) instead of 2048. Codes are widened in registers and
// multiplied by the activations, and a block's sums by its scales: out = sum over blocks of scale * (codes . a) + offset * (sum of a).
// Groups of rows are cut into streams as in matmul_thin.cpp. Measurements: docs/kernels/cpu.md.
#include <algorithm>
#include <utility>

#include "packed.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t mostBlocks = (1 << 16) / packedColumns;  // core packs no longer rows

constexpr int streamsFor(int R) { return registers == 32 ? (R == 1 ? 4 : 2) : (R == 1 ? 2 : 1); }

// out[r][s] (+)= rows `row` to `row` + lanes of a group, for R rows of A and S groups, `apart` words from each other.
template <class Format, int R, int S>
LAZY_INLINE void packedDots(const ops::Matmul& op, const float* a, const std::uint32_t* b, std::int64_t apart, int row,
                            const float* sums, float* out, std::int64_t apartOut) {
  constexpr int chains = R <= 2 ? 2 : 1;  // independent sums, to hide the latency of an addition
  const std::int64_t blocks = op.k / packedColumns, k = op.k;
  Vector totals[R][S] = {};
  for (std::int64_t block = 0; block < blocks; ++block, a += packedColumns, b += Format::words) {
#pragma GCC unroll 1
    for (int part = 0; part < Format::parts; ++part) {
      constexpr int each = packedColumns / Format::columns / Format::parts;
      Vector parts[R][S][chains] = {};
#pragma GCC unroll 1
      for (int i = part * each; i < (part + 1) * each; i += Format::columns == 1 ? 2 : 1) {
        // Two columns at least, so that both chains have one.
        constexpr int loads = Format::columns == 1 ? 2 : 1, columns = loads * Format::columns;
        decltype(Format::load(b, row, 0)) loaded[S][loads];
#pragma GCC unroll 4
        for (int s = 0; s < S; ++s)
#pragma GCC unroll 2
          for (int l = 0; l < loads; ++l) loaded[s][l] = Format::load(b + s * apart, row, i + l);
#pragma GCC unroll 8
        for (int c = 0; c < columns; ++c) {
          Vector x[R];
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) x[r] = splat(a[r * k + i * Format::columns + c]);
#pragma GCC unroll 4
          for (int s = 0; s < S; ++s) {
            const Vector y = Format::code(loaded[s][c / Format::columns], c % Format::columns);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) parts[r][s][c % chains] += x[r] * y;
          }
        }
      }
#pragma GCC unroll 4
      for (int s = 0; s < S; ++s) {
        const Vector scale = scaleOf<Format>(b + s * apart, row, part);
        Vector offset = offsetOf<Format>(b + s * apart, row, part);
        if constexpr (Format::centre != 0) offset += scale * splat(Format::centre);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const Vector sum = chains == 1 ? parts[r][s][0] : parts[r][s][0] + parts[r][s][chains - 1];
          totals[r][s] += Format::scaled ? scale * sum : sum;
          if constexpr (Format::shifted)
            totals[r][s] += offset * splat(sums[(r * blocks + block) * Format::parts + part]);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s) {
      float* to = out + r * op.n + s * apartOut + row;
      store(to, op.accumulate ? load(to) + totals[r][s] : totals[r][s]);
    }
}

// Sums of the activations over each part of a block.
template <int columns>
void partSums(const float* a, std::int64_t count, float* sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    Vector sum = {};
    for (int p = 0; p < columns; p += lanes) sum += load(a + i * columns + p);
    sums[i] = sumOf(sum);
  }
}

// Groups [begin, end) of each of the streams that the rows of B are cut into; the last stream may be short, and some empty.
template <class Format, int R>
void packedRowsOf(const ops::Matmul& op, const float* a, const float*, float* c, std::int64_t begin, std::int64_t end) {
  constexpr int S = streamsFor(R);
  const std::int64_t blocks = op.k / packedColumns, groups = op.n / packedRows, stream = (groups + S - 1) / S;
  const std::int64_t groupWords = blocks * Format::words;
  const auto* const b = static_cast<const std::uint32_t*>(op.b.data);
  float sums[Format::shifted ? R * mostBlocks * Format::parts : 1];
  if constexpr (Format::shifted) partSums<packedColumns / Format::parts>(a, R * blocks * Format::parts, sums);
  const std::int64_t full =
      std::clamp(groups - (S - 1) * stream, begin, end);  // from here on some stream is at its end
  const ops::Matmul local = op;                           // nobody writes to it
  for (int row = 0; row < packedRows; row += lanes) {
    for (std::int64_t g = begin; g < full; ++g)
      packedDots<Format, R, S>(local, a, b + g * groupWords, stream * groupWords, row, sums, c + g * packedRows,
                               stream * packedRows);
    for (std::int64_t g = full; g < end; ++g)
      for (std::int64_t at = g; at < groups; at += stream)
        packedDots<Format, R, 1>(local, a, b + at * groupWords, 0, row, sums, c + at * packedRows, 0);
  }
}

template <class Format, int... R>
Stretch stretchOf(std::int64_t rows, std::integer_sequence<int, R...>) {
  constexpr Stretch stretches[] = {packedRowsOf<Format, R + 1>...};
  return stretches[rows - 1];
}

}  // namespace

Stretch packedStretch(const ops::Matmul& op) {
  return withFormat(op.b, [&](auto format) {
    return stretchOf<decltype(format)>(op.m, std::make_integer_sequence<int, mostRows>{});
  });
}

std::int64_t packedStretchLength(const ops::Matmul& op) {
  const std::int64_t streams = streamsFor(static_cast<int>(op.m));
  return (op.n / packedRows + streams - 1) / streams;
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
