// What attention of bf16 on tiles (brain_tiles.h) shares between forward and backward: a block of 32 query rows of one head against
// all its keys. Products are of bf16 with sums in f32; scores, exponentials and sums of rows are f32, as in attention_tile.h.
#pragma once

#include <algorithm>
#include <limits>

#include "attention_tile.h"
#include "brain_pack.h"

namespace lazy_cpu {
namespace LAZY_ISA {

inline constexpr std::int64_t rowBlock = blockSide, keyStep = tileDepth;
static_assert(keyStep == blockSide, "a step of keys in one product is a panel of them in another");

// Sizes that follow from the problem.
struct BrainLayout {
  explicit BrainLayout(const ops::AttentionSizes& sizes)
      : sizes(sizes),
        group(sizes.heads / sizes.kvHeads),
        offset(sizes.keyLength - sizes.queryLength),
        dimSteps((sizes.headDim + tileDepth - 1) / tileDepth),
        dim(dimSteps * tileDepth),
        keySteps((sizes.keyLength + keyStep - 1) / keyStep),
        // 64 bytes more than the row, so that rows do not share a cache set.
        stride(keySteps * keyStep + 16),
        blocks((sizes.queryLength + rowBlock - 1) / rowBlock) {}

  const ops::AttentionSizes& sizes;
  std::int64_t group, offset, dimSteps, dim, keySteps, stride, blocks;

  std::int64_t queryAt(std::int64_t b, std::int64_t r, std::int64_t h) const {
    return ((b * sizes.queryLength + r) * sizes.heads + h) * sizes.headDim;
  }
  std::int64_t keyAt(std::int64_t b, std::int64_t kv) const {
    return (b * sizes.keyCapacity * sizes.kvHeads + kv) * sizes.headDim;
  }
  std::int64_t statisticAt(std::int64_t b, std::int64_t h, std::int64_t r) const {
    return (b * sizes.heads + h) * sizes.queryLength + r;
  }
  std::int64_t paddedBias() const { return roundUp(sizes.window, 16) + 32; }  // floats of `padBias`
};

// The attended keys of the rows of one block, and the steps of keyStep keys that hold them.
class RowBlock {
 public:
  RowBlock(const BrainLayout& layout, const ops::Tensor& starts, std::int64_t b, std::int64_t block)
      : first(block * rowBlock),
        count(std::min(rowBlock, layout.sizes.queryLength - first)),
        offset_(layout.offset),
        starts_(starts ? integers(starts) + b * layout.sizes.queryLength + first : nullptr),
        firstStep(begin(0) / keyStep),
        lastStep((end(count - 1) + keyStep - 1) / keyStep) {}

  const std::int64_t first, count;

  std::int64_t begin(std::int64_t r) const { return starts_ == nullptr ? 0 : starts_[r]; }
  std::int64_t end(std::int64_t r) const { return first + r + offset_ + 1; }

 private:
  const std::int64_t offset_;
  const std::int32_t* starts_;

 public:
  const std::int64_t firstStep, lastStep;
};

// Of q, k, v and the like of one head, rows `ld` apart: as rows or columns of a product over the head's dimensions, and as columns of
// one over rows.
inline const std::uint16_t* halvesAt(const ops::Tensor& x, std::int64_t at) {
  return static_cast<const std::uint16_t*>(x.data) + at;
}
inline Lines byRow(const std::uint16_t* data, std::int64_t ld, std::int64_t rows, bool columns) {
  return {data, ld, 1, rows, columns};
}
inline Lines byDimension(const std::uint16_t* data, std::int64_t ld, std::int64_t headDim, bool columns) {
  return {data, 1, ld, headDim, columns};
}

// All panels of `x`, which is `depth` long: [panels][steps].
inline void packAll(const Lines& x, std::int64_t depth, std::uint16_t* to) {
  const std::int64_t steps = (depth + tileDepth - 1) / tileDepth;
  for (std::int64_t line = 0; line < x.count; line += blockSide, to += steps * panelHalves)
    packPanel(x, line, depth, 0, steps, to);
}

// The bias of a head so that it runs along the keys, between zeros: bias at distance i - j at [W + 15 + j - i].
inline void padBias(const float* bias, std::int64_t window, std::int64_t room, float* to) {
  std::fill_n(to, room, 0.0f);
  std::reverse_copy(bias, bias + window, to + 16);
}

// body(j, masked) for the whole vectors, counted from key 0, that hold the keys [begin, end); `masked` where they hold others too.
template <class Body>
LAZY_INLINE void forKeyVectors(std::int64_t begin, std::int64_t end, const Body& body) {
  std::int64_t j = begin / lanes * lanes;
  if (j < begin) {
    body(j, std::true_type{});
    j += lanes;
  }
  for (; j + lanes <= end; j += lanes) body(j, std::false_type{});
  if (j < end) body(j, std::true_type{});
}

// `v` in the lanes of the keys [begin, end) of a vector that begins with key j, `other` in the rest.
template <class Masked>
LAZY_INLINE Vector onKeys(Masked, std::int64_t j, std::int64_t begin, std::int64_t end, Vector v, Vector other) {
  if constexpr (!Masked::value) return v;
  const Integers keys = laneNumbers() + static_cast<std::int32_t>(j);
  const Integers inside = (keys >= static_cast<std::int32_t>(begin)) & (keys < static_cast<std::int32_t>(end));
  return select(inside, v, other);
}

// Scores of one row: `line` holds products of q and k, from key 0.
struct ScoreRow {
  float* line;
  std::int64_t begin, end;
  Vector scale;

  // scale * q.k + bias in place, -infinity for keys that are not the row's but in its vectors; the maximum. `bias` is of `padBias`, or nullptr.
  LAZY_INLINE float finish(const float* bias, std::int64_t window) const {
    Vector top = splat(-std::numeric_limits<float>::infinity());
    const Vector none = top;
    const float* near = bias == nullptr ? nullptr : bias + 16 + window - end;
    const std::int64_t nearFrom = end - window;
    forKeyVectors(begin, end, [&](std::int64_t j, auto masked) {
      Vector x = load(line + j) * scale;
      if (near != nullptr && j + lanes > nearFrom) x += load(near + j);
      x = onKeys(masked, j, begin, end, x, none);
      store(line + j, x);
      top = maximum(top, x);
    });
    return maximumOf(top);
  }
  // exp(score - top), given to `put(j, e)`; the sum of it. Keys that are not the row's have 0.
  template <class Put>
  LAZY_INLINE float exponentials(float top, const Put& put) const {
    const Vector shift = splat(top);
    Vector total = {};
    forKeyVectors(begin, end, [&](std::int64_t j, auto masked) {
      const Vector e = onKeys(masked, j, begin, end, exponentialOfNegative(load(line + j) - shift), Vector{});
      put(j, e);
      total += e;
    });
    return sumOf(total);
  }
};

// A row of a panel of A whose steps begin at `firstStep`: where the vector of key j goes.
struct PanelRow {
  std::uint16_t* at;

  PanelRow(std::uint16_t* panel, std::int64_t r, std::int64_t firstStep)
      : at(panel + r / tileSide * tileHalves + r % tileSide * tileDepth - firstStep * panelHalves) {}
  LAZY_INLINE void put(std::int64_t j, Vector v) const {
    store(reinterpret_cast<Brain*>(at + j / tileDepth * panelHalves + j % tileDepth), v);
  }
  // Zeros for the vectors from key `from` up to key `to`.
  LAZY_INLINE void clear(std::int64_t from, std::int64_t to) const {
    for (std::int64_t j = from; j < to; j += lanes) put(j, Vector{});
  }
};

// Whether one of the first `rows` rows of a step of a panel is not all zero (spec §Inactive tiles); NaN is not zero. The last row comes
// first: it was written last and is near.
inline bool holdsWeight(const std::uint16_t* step, std::int64_t rows) {
  for (std::int64_t r = rows; r-- > 0;) {
    std::uint64_t words[tileDepth / 4], any = 0;
    std::memcpy(words, step + r / tileSide * tileHalves + r % tileSide * tileDepth, sizeof words);
    for (const std::uint64_t word : words) any |= word;
    if (any != 0) return true;
  }
  return false;
}

// `count` of f32 times `factor`, rounded.
inline void writeRow(const float* from, float factor, std::int64_t count, Brain* to) {
  const Vector f = splat(factor);
  std::int64_t d = 0;
  for (; d + lanes <= count; d += lanes) store(to + d, load(from + d) * f);
  if (d < count) storeSome(to + d, loadSome(from + d, count - d) * f, count - d);
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
