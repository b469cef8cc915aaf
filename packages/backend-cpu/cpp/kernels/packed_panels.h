// Packed weights as panels of micro.h, [panel][k][tileColumns], where a product has more rows than packed_dots.cpp takes: the weights
// are the f32 numbers nearest to scale * code + offset, since the product of a scale and a code is exact.
#pragma once

#include "micro.h"
#include "packed.h"

namespace lazy_cpu {
namespace LAZY_ISA {

// Columns [p, p + steps) of B's rows `row` to `row` + lanes, a vector every tileColumns floats. p and steps are whole blocks.
template <class Format>
inline void unpackRows(const ops::Tensor& b, std::int64_t depth, std::int64_t p, std::int64_t steps, std::int64_t row,
                       float* to) {
  const std::uint32_t* block = blockAt<Format>(b, depth, row, p);
  const int within = static_cast<int>(row % packedRows);
  for (std::int64_t end = p + steps; p < end; p += packedColumns, block += Format::words) {
    constexpr int each = packedColumns / Format::columns / Format::parts;
    for (int part = 0; part < Format::parts; ++part) {
      const Vector scale = scaleOf<Format>(block, within, part), offset = offsetOf<Format>(block, within, part);
      for (int i = part * each; i < (part + 1) * each; ++i) {
        const auto loaded = Format::load(block, within, i);
#pragma GCC unroll 8
        for (int c = 0; c < Format::columns; ++c, to += tileColumns) {
          const Vector code = Format::code(loaded, c) + splat(Format::centre);
          store(to, Format::scaled ? scale * code + offset : code);
        }
      }
    }
  }
}

// The panels of columns [column, column + width) of the product, which are B's rows; `column` begins one.
inline void unpackPanels(const ops::Tensor& b, std::int64_t depth, std::int64_t p, std::int64_t steps,
                         std::int64_t column, std::int64_t width, float* to) {
  withFormat(b, [&](auto format) {
    for (std::int64_t j = 0; j < width; j += tileColumns, to += steps * tileColumns)
      for (int v = 0; v < tileColumns; v += lanes) {
        if (j + v < width) {
          unpackRows<decltype(format)>(b, depth, p, steps, column + j + v, to + v);
        } else {
          for (std::int64_t i = 0; i < steps; ++i) store(to + i * tileColumns + v, Vector{});
        }
      }
  });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
