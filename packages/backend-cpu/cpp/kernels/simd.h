// Vectors of f32 in the compiler's own notation (GCC and Clang vector extensions), one width per build of the kernels.
//
// Every file in this folder is compiled once per instruction set, with other flags and another LAZY_ISA, which names
// the namespace; cpp/kernel_table.h chooses one at run time. Width and register count follow from the flags, so there
// is one source: 16 lanes and 32 registers with AVX-512, 8 and 16 with AVX2, 4 and 32 with NEON, 4 and 16 otherwise.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#ifndef LAZY_ISA
#error "LAZY_ISA names the instruction set that this file is compiled for"
#endif

namespace lazy_cpu {
namespace LAZY_ISA {

#if defined(__AVX512F__)
inline constexpr int lanes = 16;
#elif defined(__AVX2__)
inline constexpr int lanes = 8;
#else
inline constexpr int lanes = 4;
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int registers = 32;
#else
inline constexpr int registers = 16;
#endif

typedef float Vector __attribute__((vector_size(lanes * 4)));
typedef std::int32_t Integers __attribute__((vector_size(lanes * 4)));
typedef std::uint32_t Unsigned __attribute__((vector_size(lanes * 4)));

#define LAZY_INLINE inline __attribute__((always_inline))
// Register class of a Vector in inline assembly.
#if defined(__x86_64__) || defined(__i386__)
#define LAZY_VECTOR_CONSTRAINT "v"
#elif defined(__aarch64__)
#define LAZY_VECTOR_CONSTRAINT "w"
#else
#define LAZY_VECTOR_CONSTRAINT "m"
#endif

LAZY_INLINE Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
LAZY_INLINE void store(float* p, Vector v) { std::memcpy(p, &v, sizeof v); }
LAZY_INLINE Vector splat(float x) { return x - Vector{}; }
LAZY_INLINE Vector select(Integers mask, Vector yes, Vector no) {
  return reinterpret_cast<Vector>((mask & reinterpret_cast<Integers>(yes)) | (~mask & reinterpret_cast<Integers>(no)));
}
LAZY_INLINE Vector maximum(Vector a, Vector b) { return a > b ? a : b; }

// Lane numbers 0, 1, 2, ...
LAZY_INLINE Integers laneNumbers() {
  Integers v;
  for (int i = 0; i < lanes; ++i) v[i] = i;
  return v;
}
// All ones in the first `count` lanes.
LAZY_INLINE Integers firstLanes(std::int64_t count) {
  return laneNumbers() < static_cast<std::int32_t>(count < lanes ? count : lanes);
}

// The first `count` < lanes elements; the rest are `fill`. Reads nothing beyond them.
LAZY_INLINE Vector loadSome(const float* p, std::int64_t count, float fill = 0) {
  Vector v = splat(fill);
  std::memcpy(&v, p, static_cast<std::size_t>(count) * sizeof(float));
  return v;
}
LAZY_INLINE void storeSome(float* p, Vector v, std::int64_t count) {
  std::memcpy(p, &v, static_cast<std::size_t>(count) * sizeof(float));
}

// Whether any lane of a mask is set.
LAZY_INLINE bool anyLane(Integers mask) {
  std::uint64_t words[lanes / 2], all = 0;
  std::memcpy(words, &mask, sizeof words);
  for (const std::uint64_t word : words) all |= word;
  return all != 0;
}

// Horizontal sums and maxima by halving: a fixed order.
template <int N>
struct Lanes {
  typedef float Type __attribute__((vector_size(N * 4)));
};
// The lower (0) or upper (1) half. Element by element, since compilers make shuffles of that; a copy goes through memory.
template <int N, int... I>
LAZY_INLINE typename Lanes<N / 2>::Type halfOf(typename Lanes<N>::Type v, int half, std::integer_sequence<int, I...>) {
  return half == 0 ? typename Lanes<N / 2>::Type{v[I]...} : typename Lanes<N / 2>::Type{v[N / 2 + I]...};
}
template <int N>
LAZY_INLINE typename Lanes<N / 2>::Type halfOf(typename Lanes<N>::Type v, int half) {
  return halfOf<N>(v, half, std::make_integer_sequence<int, N / 2>{});
}
template <int N, class Combine>
LAZY_INLINE float halve(typename Lanes<N>::Type v, const Combine& combine) {
  if constexpr (N == 2) {
    return combine(v[0], v[1]);
  } else {
    return halve<N / 2>(combine(halfOf<N>(v, 0), halfOf<N>(v, 1)), combine);
  }
}
LAZY_INLINE float sumOf(Vector v) {
  return halve<lanes>(v, [](auto a, auto b) { return a + b; });
}
LAZY_INLINE float maximumOf(Vector v) {
  return halve<lanes>(v, [](auto a, auto b) { return a > b ? a : b; });
}

// 2^n of small integers, by their exponent bits. Others give anything, since signed numbers may not overflow.
LAZY_INLINE Vector powerOfTwo(Integers n) {
  return reinterpret_cast<Vector>((reinterpret_cast<Unsigned>(n) + 127) << 23);
}
// What `x` holds in its low bits above 1.5 * 2^23; anything where it is not near that.
LAZY_INLINE Integers roundedBits(Vector x) {
  return reinterpret_cast<Integers>(reinterpret_cast<Unsigned>(x) - 0x4b400000u);
}

// e^x to about 1 ulp. 0 below -87.3 (no denormals), infinity above 88.7, NaN stays NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2; the polynomial is the Taylor series to r^7 with its last terms economised.
LAZY_INLINE Vector exponential(Vector x) {
  const Vector shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Vector clamped = x > splat(88.8f) ? splat(88.8f) : x;
  const Vector t = clamped * splat(1.44269504088896341f) + shifter;
  const Vector n = t - shifter;
  Vector r = clamped - n * splat(0.693359375f);
  r = r - n * splat(-2.12194440e-4f);
  Vector p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  p = p * (r * r) + r + splat(1.0f);
  // 2^n in two factors, since n = 128 does not fit the exponent of one.
  const Integers whole = roundedBits(t);
  const Integers first = whole >> 1, second = whole - first;
  const Vector y = p * powerOfTwo(first) * powerOfTwo(second);
  return x < splat(-87.3f) ? Vector{} : y;
}

// e^x for x <= 0, as softmax needs it: no overflow to think of. 0 below -87.3, NaN stays NaN.
LAZY_INLINE Vector exponentialOfNegative(Vector x) {
  const Vector shifter = splat(12582912.0f);
  const Vector t = x * splat(1.44269504088896341f) + shifter;
  const Vector n = t - shifter;
  Vector r = x - n * splat(0.693359375f);
  r = r - n * splat(-2.12194440e-4f);
  Vector p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  p = p * (r * r) + r + splat(1.0f);
  const Vector y = p * powerOfTwo(roundedBits(t));
  return x < splat(-87.3f) ? Vector{} : y;
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
