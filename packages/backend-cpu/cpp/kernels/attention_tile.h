// What forward, backward and dense weights share: one tile of query rows of one head against all its keys.
//
// The tile's whole rows of scores, the strip [rows][stride], stay in the core's own cache (64 x 1024 scores are 256 KiB;
// longer rows spill to the next cache, which three passes over them bear). So nothing is computed twice, and the backward
// pass gets delta by its definition from a strip of g = dO . v, without u and without another product: 2 products
// forward and 5 backward, which is FlashAttention's count for plain softmax (spec §Exact algorithms: 2 or 3, and 5).
//
// Both products with keys as columns and those with head dimensions as columns run through micro.h. Per group of
// tileRows rows only the keys that they attend are touched, in steps of tileColumns: the causal triangle and `starts`
// cost what they hold, rounded up to a tile. Of the products with w or m, those tiles are left out that hold no weight
// (attention_active.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention_active.h"
#include "kernels.h"
#include "pack.h"
#include "row_loops.h"

namespace lazy_cpu {
namespace LAZY_ISA {

inline constexpr std::int64_t queryRows = 64 / tileRows * tileRows;
static_assert(queryRows / tileRows <= 32, "ActiveChunks has 32 bits");
inline constexpr std::int64_t keyBlock = 256;  // keys between visits of a row group: one panel of values is 32 KiB

// Sizes that follow from the problem.
struct Layout {
  explicit Layout(const ops::AttentionSizes& sizes)
      : sizes(sizes),
        group(sizes.heads / sizes.kvHeads),
        offset(sizes.keyLength - sizes.queryLength),
        dim(panelsOf(sizes.headDim) * tileColumns),
        keys(panelsOf(sizes.keyLength) * tileColumns),
        // 64 bytes more than the row, so that rows do not share a cache set and vectors may run over the end.
        stride(keys + 16),
        tiles((sizes.queryLength + queryRows - 1) / queryRows),
        tileHeight(std::min(queryRows, sizes.queryLength)) {}

  const ops::AttentionSizes& sizes;
  std::int64_t group, offset, dim, keys, stride, tiles, tileHeight;

  std::int64_t queryAt(std::int64_t b, std::int64_t r, std::int64_t h) const {
    return ((b * sizes.queryLength + r) * sizes.heads + h) * sizes.headDim;
  }
  std::int64_t keyAt(std::int64_t b, std::int64_t j, std::int64_t kv) const {
    return ((b * sizes.keyCapacity + j) * sizes.kvHeads + kv) * sizes.headDim;
  }
  std::int64_t statisticAt(std::int64_t b, std::int64_t h, std::int64_t r) const {
    return (b * sizes.heads + h) * sizes.queryLength + r;
  }
  std::int64_t reversedBias() const { return sizes.window + 16; }  // floats of `reverseBias`
};

// The attended keys of the rows of one tile, and of its groups of tileRows rows in whole tiles.
class TileRows {
 public:
  TileRows(const Layout& layout, const ops::Tensor& starts, std::int64_t b, std::int64_t tile)
      : first(tile * queryRows),
        count(std::min(queryRows, layout.sizes.queryLength - first)),
        offset_(layout.offset),
        starts_(starts ? integers(starts) + b * layout.sizes.queryLength + first : nullptr) {}

  const std::int64_t first, count;

  std::int64_t begin(std::int64_t r) const { return starts_ == nullptr ? 0 : starts_[r]; }
  std::int64_t end(std::int64_t r) const { return first + r + offset_ + 1; }
  std::int64_t groupCount(std::int64_t r) const { return std::min<std::int64_t>(tileRows, count - r); }
  std::int64_t groupBegin(std::int64_t r) const { return begin(r) / tileColumns * tileColumns; }
  std::int64_t groupEnd(std::int64_t r) const { return roundUp(end(r + groupCount(r) - 1), tileColumns); }
  // Rows that attend one of the keys [key, key + width): from .. to.
  std::int64_t rowsFrom(std::int64_t key) const { return std::max<std::int64_t>(0, key - offset_ - first); }
  std::int64_t rowsTo(std::int64_t key, std::int64_t width) const {
    if (starts_ == nullptr) return count;
    return std::upper_bound(starts_, starts_ + count, key + width - 1) - starts_;
  }

 private:
  const std::int64_t offset_;
  const std::int32_t* starts_;
};

// [rows][headDim] with row stride `ld`, times `factor`, to [rows][dim] filled up with zeros.
inline void copyTile(const float* from, std::int64_t ld, std::int64_t rows, const Layout& layout, float factor,
                     float* to) {
  for (std::int64_t r = 0; r < rows; ++r, from += ld, to += layout.dim) {
    for (std::int64_t d = 0; d < layout.sizes.headDim; ++d) to[d] = from[d] * factor;
    std::fill(to + layout.sizes.headDim, to + layout.dim, 0.0f);
  }
}

// strip[r][j] = rows[r] . column j of `panels` (packColumns of the keys), for the keys that each group attends and, where
// `active` is given, needs: the rest of the strip stays as it was.
LAZY_INLINE void scoreProducts(const Layout& layout, const TileRows& t, const float* rows, const float* panels,
                               const ActiveChunks* active, float* strip) {
  const std::int64_t begin = t.groupBegin(0), end = roundUp(t.end(t.count - 1), tileColumns);
  for (std::int64_t key = begin; key < end; key += tileColumns) {
    for (std::int64_t r = 0; r < t.count; r += tileRows) {
      if (key < t.groupBegin(r) || key >= t.groupEnd(r)) continue;
      if (active != nullptr && !active->holds(r / tileRows, key)) continue;
      microRows(static_cast<int>(t.groupCount(r)), layout.sizes.headDim, rows + r * layout.dim, layout.dim, 1,
                panels + key * layout.sizes.headDim, tileColumns, strip + r * layout.stride + key, layout.stride,
                false);
    }
  }
}

// out[r] = sum over keys of strip[r][j] * row j of `panels` (packRows of values or keys); of those that `active` names.
LAZY_INLINE void valueProducts(const Layout& layout, const TileRows& t, const float* strip, const float* panels,
                               const ActiveChunks* active, float* out) {
  const std::int64_t begin = t.groupBegin(0), end = t.end(t.count - 1);
  if (active != nullptr) std::fill_n(out, t.count * layout.dim, 0.0f);
  for (std::int64_t block = begin; block < end; block += keyBlock) {
    for (std::int64_t d = 0; d < layout.dim; d += tileColumns) {
      for (std::int64_t r = 0; r < t.count; r += tileRows) {
        const std::int64_t first = std::max(block, t.groupBegin(r));
        const std::int64_t last = std::min(block + keyBlock, t.end(r + t.groupCount(r) - 1));
        const auto add = [&](std::int64_t from, std::int64_t to) {
          microRows(static_cast<int>(t.groupCount(r)), to - from, strip + r * layout.stride + from, layout.stride, 1,
                    panels + d * layout.sizes.keyLength + from * tileColumns, tileColumns, out + r * layout.dim + d,
                    layout.dim, active != nullptr || from > t.groupBegin(r));
        };
        if (active != nullptr)
          active->forKeys(r / tileRows, first, last, add);
        else if (first < last)
          add(first, last);
      }
    }
  }
}

// sums[j] += sum over rows of strip[r][j] * rows[r], both [..][dim]; over those that `active` names.
LAZY_INLINE void keyProducts(const Layout& layout, const TileRows& t, const float* strip, const float* rows,
                             const ActiveChunks* active, float* sums) {
  const std::int64_t end = t.end(t.count - 1);
  for (std::int64_t panel = t.groupBegin(0); panel < end; panel += tileColumns) {
    const std::int64_t last = std::min<std::int64_t>(panel + tileColumns, end);
    for (std::int64_t key = panel; key < last; key += tileRows) {
      const std::int64_t count = std::min<std::int64_t>(tileRows, last - key);
      const auto add = [&](std::int64_t from, std::int64_t to) {
        for (std::int64_t d = 0; d < layout.dim; d += tileColumns) {
          microRows(static_cast<int>(count), to - from, strip + from * layout.stride + key, 1, layout.stride,
                    rows + from * layout.dim + d, layout.dim, sums + key * layout.dim + d, layout.dim, true);
        }
      };
      const std::int64_t from = t.rowsFrom(key), to = t.rowsTo(key, count);
      if (active != nullptr)
        active->forRows(key, from, to, add);
      else if (from < to)
        add(from, to);
    }
  }
}

// to[W - 1 + j - i] = bias at distance i - j, so that it runs along the keys; zeros behind it.
inline void reverseBias(const float* bias, std::int64_t window, float* to) {
  std::reverse_copy(bias, bias + window, to);
  std::fill_n(to + window, 16, 0.0f);
}

// A row of the strip from its first attended key: loads and stores may run over the end, into the row's padding.
struct PaddedEnd {
  std::int64_t i, count;
  LAZY_INLINE Vector operator()(const float* row) const { return load(row + i); }
  LAZY_INLINE void put(float* row, Vector v) const { store(row + i, select(firstLanes(count), v, Vector{})); }
  LAZY_INLINE Vector mask(Vector v) const { return select(firstLanes(count), v, Vector{}); }
};

template <class Body>
LAZY_INLINE void forEachPadded(std::int64_t count, const Body& body) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(WholeVector{i});
  if (i < count) body(PaddedEnd{i, count - i});
}

// Adds the bias to the keys within the window of the row's query, the last of `count`.
LAZY_INLINE void addBias(float* row, std::int64_t count, const float* reversed, std::int64_t window) {
  const std::int64_t near = std::min(count, window);
  float* from = row + count - near;
  const float* bias = reversed + window - near;
  for (std::int64_t j = 0; j < near; j += lanes) store(from + j, load(from + j) + load(bias + j));
}

LAZY_INLINE float rowMaximum(const float* row, std::int64_t count) {
  Vector a = splat(row[0]), b = a;
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    a = maximum(a, load(row + i));
    b = maximum(b, load(row + i + lanes));
  }
  for (; i < count; i += lanes) a = maximum(a, select(firstLanes(count - i), load(row + i), a));
  return maximumOf(maximum(a, b));
}

// exp(row - top) in place; the sum of it.
LAZY_INLINE float rowExponentials(float* row, std::int64_t count, float top) {
  const Vector shift = splat(top);
  Vector total = {};
  forEachPadded(count, [&](auto at) {
    const Vector e = at.mask(exponentialOfNegative(at(row) - shift));
    at.put(row, e);
    total += e;
  });
  return sumOf(total);
}

// max(row * inverse + offset, 0) in place: w of spec §Forward. NaN stays NaN.
LAZY_INLINE void rowWeights(float* row, std::int64_t count, float inverse, float offset) {
  const Vector f = splat(inverse), o = splat(offset);
  forEachPadded(count, [&](auto at) {
    const Vector w = at(row) * f + o;
    at.put(row, w < Vector{} ? Vector{} : w);
  });
}

// Zeros around the attended keys, so that products over whole groups and panels see none but them. Vectors may run over the
// group's end, into what nobody reads.
LAZY_INLINE void clearAround(float* strip, const TileRows& t, std::int64_t r, std::int64_t groupRow) {
  for (std::int64_t j = t.groupBegin(groupRow); j < t.begin(r); ++j) strip[j] = 0.0f;
  for (std::int64_t j = t.end(r); j < t.groupEnd(groupRow); j += lanes) store(strip + j, Vector{});
}

// To be called for each row r in turn: notes at the end of a group which of its strip[r][j] are above limits[r].
LAZY_INLINE void findActive(const Layout& layout, const TileRows& t, std::int64_t r, const float* strip,
                            const float* limits, const ActiveChunks& active) {
  const std::int64_t first = r / tileRows * tileRows, rows = t.groupCount(first);
  if (r == 0) active.open(t.groupBegin(0), roundUp(t.end(t.count - 1), tileColumns));
  if (r + 1 < first + rows) return;
  active.find(first / tileRows, rows, t.groupBegin(first), t.groupEnd(first), strip + first * layout.stride,
              layout.stride, limits + first);
}

// What attention learned (ops::Learned), of one head: nullptr where absent.
struct HeadInputs {
  const float* bias;  // as reverseBias leaves it
  const float *tau, *sink;

  HeadInputs(const ops::Learned& in, std::int64_t h, const float* reversed)
      : bias(in.bias ? reversed : nullptr), tau(of(in.tau, h)), sink(of(in.sink, h)) {}

  // The row's maximum, `highest` over its keys, and the terms of its normaliser beside theirs: spec §Sink logit. The term of a
  // logit of -infinity is 0, also beside a top of -infinity.
  float top(float highest) const { return sink == nullptr ? highest : std::max(highest, *sink); }
  float beside(float top) const {
    return sink == nullptr || *sink == -std::numeric_limits<float>::infinity() ? 0.0f : std::exp(*sink - top);
  }

 private:
  static const float* of(const ops::Tensor& x, std::int64_t h) { return x ? floats(x) + h : nullptr; }
};

// Raw scores to w, row by row, and which of them are active; `keep` gets (r, top, inverse sum).
template <class Keep>
LAZY_INLINE void stripWeights(const Layout& layout, const TileRows& t, const HeadInputs& head,
                              const ActiveChunks& active, float* strip, const Keep& keep) {
  static constexpr float none[queryRows] = {};
  for (std::int64_t r = 0; r < t.count; ++r) {
    float* line = strip + r * layout.stride;
    float* row = line + t.begin(r);
    const std::int64_t count = t.end(r) - t.begin(r);
    if (head.bias != nullptr) addBias(row, count, head.bias, layout.sizes.window);
    const float top = head.top(rowMaximum(row, count));
    const float inverse = 1.0f / (rowExponentials(row, count, top) + head.beside(top));
    rowWeights(row, count, inverse, head.tau == nullptr ? 0.0f : *head.tau / static_cast<float>(count));
    clearAround(line, t, r, r / tileRows * tileRows);
    findActive(layout, t, r, strip, none, active);
    keep(r, top, inverse);
  }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
