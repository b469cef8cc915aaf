// Loops over one row in vectors, with the last, incomplete vector handled once and for all. The body gets `at`, which
// loads from and stores to the current place of any row of the same length.
#pragma once

#include <algorithm>
#include <cmath>

#include "brain.h"

namespace lazy_cpu {
namespace LAZY_ISA {

struct WholeVector {
  std::int64_t i;
  template <class T>
  LAZY_INLINE Vector operator()(const T* row) const {
    return load(row + i);
  }
  template <class T>
  LAZY_INLINE void put(T* row, Vector v) const {
    store(row + i, v);
  }
  LAZY_INLINE Vector mask(Vector v) const { return v; }
};

struct PartOfVector {
  std::int64_t i, count;
  template <class T>
  LAZY_INLINE Vector operator()(const T* row) const {
    return loadSome(row + i, count);
  }
  template <class T>
  LAZY_INLINE void put(T* row, Vector v) const {
    storeSome(row + i, v, count);
  }
  // Zero beyond the end of the row.
  LAZY_INLINE Vector mask(Vector v) const { return select(firstLanes(count), v, Vector{}); }
};

template <class Body>
LAZY_INLINE void forEach(std::int64_t count, const Body& body) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(WholeVector{i});
  if (i < count) body(PartOfVector{i, count - i});
}

// Sum of body(at), which has to be 0 beyond the row's end (products of loads are; else use at.mask). In double after every
// 64 vectors: in a long row a sum of f32 that holds one large term would lose all the small ones.
template <class Body>
LAZY_INLINE double sumOver(std::int64_t count, const Body& body) {
  constexpr std::int64_t block = 64 * lanes;
  double sum = 0;
  for (std::int64_t from = 0; from < count; from += block) {
    Vector total = {};
    const std::int64_t end = std::min(from + block, count);
    std::int64_t i = from;
    for (; i + lanes <= end; i += lanes) total += body(WholeVector{i});
    if (i < end) total += body(PartOfVector{i, end - i});
    sum += static_cast<double>(sumOf(total));
  }
  return sum;
}

template <class T>
LAZY_INLINE float maximumOver(std::int64_t count, const T* row) {
  const float first = widened(row[0]);
  Vector top = splat(first);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) top = maximum(top, load(row + i));
  if (i < count) top = maximum(top, loadSome(row + i, count - i, first));
  return maximumOf(top);
}

// 1 / sqrt(mean(x^2) + epsilon)
template <class T>
LAZY_INLINE float inverseRms(const T* x, std::int64_t width, double epsilon) {
  const double squares = sumOver(width, [&](auto at) { return at(x) * at(x); });
  return static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(width) + epsilon));
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
