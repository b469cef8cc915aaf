// Which weights of a tile of query rows are not all zero (spec §Inactive tiles), per group of tileRows rows and chunk of
// tileColumns keys: what the products w . v, dO . v and w' . dO go over.
//
// Exact: a chunk is left out only when each of its weights is zero, so nothing is added that was not zero, and the values behind
// it are not read. NaN counts as active. Looking stops at the first active weight of a chunk, so where nothing falls away it
// costs a load and a test per chunk and group. Measurements: docs/kernels/cpu.md.
#pragma once

#include <algorithm>

#include "micro.h"

namespace lazy_cpu {
namespace LAZY_ISA {

class ActiveChunks {
 public:
  static constexpr std::int64_t chunk = tileColumns;  // keys

  // Room for `keys` keys, a multiple of `chunk`, in floats.
  static std::int64_t floats(std::int64_t keys) { return keys / chunk; }

  // `memory` is not looked at before `open`.
  explicit ActiveChunks(float* memory) : groups_(reinterpret_cast<std::uint32_t*>(memory)) {}

  // Before the first group of a tile that attends the keys [begin, end), both multiples of `chunk`.
  void open(std::int64_t begin, std::int64_t end) const {
    std::fill(groups_ + begin / chunk, groups_ + end / chunk, 0u);
  }

  // Notes where one of strip[r][j] is above limits[r], or either is NaN; r < rows, `begin` <= j < `end` as above. The last
  // row comes first: it was written last and is near.
  void find(std::int64_t group, std::int64_t rows, std::int64_t begin, std::int64_t end, const float* strip,
            std::int64_t stride, const float* limits) const {
    for (std::int64_t key = begin; key < end; key += chunk) {
      bool any = false;
      for (std::int64_t r = rows; r-- > 0 && !any;) any = anyAbove(strip + r * stride + key, limits[r]);
      groups_[key / chunk] |= static_cast<std::uint32_t>(any) << group;
    }
  }

  bool holds(std::int64_t group, std::int64_t key) const { return (groups_[key / chunk] >> group & 1) != 0; }

  // visit(from, to) for each stretch of keys within [begin, end) that `group` needs.
  template <class Visit>
  LAZY_INLINE void forKeys(std::int64_t group, std::int64_t begin, std::int64_t end, const Visit& visit) const {
    for (std::int64_t key = begin; key < end;) {
      std::int64_t to = nextChunk(key);
      if (holds(group, key)) {
        while (to < end && holds(group, to)) to += chunk;
        visit(key, std::min(to, end));
      }
      key = to;
    }
  }

  // visit(from, to) for each stretch of rows within [begin, end) that needs the chunk of `key`.
  template <class Visit>
  LAZY_INLINE void forRows(std::int64_t key, std::int64_t begin, std::int64_t end, const Visit& visit) const {
    for (std::int64_t row = begin; row < end;) {
      std::int64_t to = nextGroup(row);
      if (holds(row / tileRows, key)) {
        while (to < end && holds(to / tileRows, key)) to += tileRows;
        visit(row, std::min(to, end));
      }
      row = to;
    }
  }

 private:
  static std::int64_t nextChunk(std::int64_t key) { return (key / chunk + 1) * chunk; }
  static std::int64_t nextGroup(std::int64_t row) { return (row / tileRows + 1) * tileRows; }

  static LAZY_INLINE bool anyAbove(const float* row, float limit) {
    Integers any = {};
#pragma GCC unroll 4
    for (int v = 0; v < tileVectors; ++v) any |= ~(load(row + v * lanes) <= splat(limit));
    return anyLane(any);
  }

  std::uint32_t* groups_;  // per chunk: one bit per group
};

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
