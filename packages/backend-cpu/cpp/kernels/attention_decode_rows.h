// What attention over a key cache computes of rows: scores of four keys, and sums of weighted values, both of f32 or bf16. Heads of any
// size that is a multiple of four, so vectors of four finish what whole ones leave.
#pragma once

#include "brain.h"

namespace lazy_cpu {
namespace LAZY_ISA {

typedef float Four __attribute__((vector_size(16)));

template <class V>
LAZY_INLINE V loadAs(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <int N>
struct Words {
  typedef std::uint16_t Narrow __attribute__((vector_size(N * 2)));
  typedef std::uint32_t Wide __attribute__((vector_size(N * 4)));
};
template <class V>
LAZY_INLINE V loadAs(const Brain* from) {
  using Own = Words<sizeof(V) / sizeof(float)>;
  typename Own::Narrow narrow;
  std::memcpy(&narrow, from, sizeof narrow);
  return reinterpret_cast<V>(__builtin_convertvector(narrow, typename Own::Wide) << 16);
}

// Sums of lanes down to four.
template <int N>
LAZY_INLINE Four folded(typename Lanes<N>::Type v) {
  if constexpr (N == 4)
    return v;
  else
    return folded<N / 2>(halfOf<N>(v, 0) + halfOf<N>(v, 1));
}
LAZY_INLINE Four sumsOf(Four a, Four b, Four c, Four d) {
  const Four ab = Four{a[0], b[0], a[1], b[1]} + Four{a[2], b[2], a[3], b[3]};
  const Four cd = Four{c[0], d[0], c[1], d[1]} + Four{c[2], d[2], c[3], d[3]};
  return Four{ab[0], ab[1], cd[0], cd[1]} + Four{ab[2], ab[3], cd[2], cd[3]};
}

// query . key for four keys.
template <class T>
LAZY_INLINE Four dots(const float* query, const T* const* keys, std::int64_t dim) {
  Vector sums[4] = {};
  std::int64_t d = 0;
  for (; d + lanes <= dim; d += lanes) {
    const Vector q = load(query + d);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sums[i] += q * loadAs<Vector>(keys[i] + d);
  }
  Four fours[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) fours[i] = folded<lanes>(sums[i]);
  for (; d < dim; d += 4) {
    const Four q = loadAs<Four>(query + d);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) fours[i] += q * loadAs<Four>(keys[i] + d);
  }
  return sumsOf(fours[0], fours[1], fours[2], fours[3]);
}

// N vectors of out += sum of weights[i] * values[offsets[i]]. Two chains of sums, to hide the latency of an addition.
template <class V, int N, class T>
LAZY_INLINE void addColumns(const float* weights, const std::int32_t* offsets, std::int64_t count, const T* values,
                            float* out) {
  constexpr int width = sizeof(V) / sizeof(float);
  V even[N], odd[N] = {};
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) even[v] = loadAs<V>(out + v * width);
  const auto add = [&](std::int64_t i, V* sums) {
    const T* row = values + offsets[i];
    const V w = weights[i] - V{};
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) sums[v] += w * loadAs<V>(row + v * width);
  };
  std::int64_t i = 0;
  for (; i + 2 <= count; i += 2) {
    add(i, even);
    add(i + 1, odd);
  }
  if (i < count) add(i, even);
#pragma GCC unroll 4
  for (int v = 0; v < N; ++v) {
    const V sum = even[v] + odd[v];
    std::memcpy(out + v * width, &sum, sizeof sum);
  }
}

template <class T>
LAZY_INLINE void addValues(const float* weights, const std::int32_t* offsets, std::int64_t count, const T* values,
                           std::int64_t dim, float* out) {
  std::int64_t d = 0;
  for (; d + 4 * lanes <= dim; d += 4 * lanes) addColumns<Vector, 4>(weights, offsets, count, values + d, out + d);
  for (; d + lanes <= dim; d += lanes) addColumns<Vector, 1>(weights, offsets, count, values + d, out + d);
  for (; d < dim; d += 4) addColumns<Four, 1>(weights, offsets, count, values + d, out + d);
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
