// bf16 in memory, f32 in registers: loads widen exactly, stores round to nearest, ties to even.
#pragma once

#include "kernels.h"

namespace lazy_cpu {
namespace LAZY_ISA {

// A bf16 number: the upper half of an f32.
struct Brain {
  std::uint16_t bits;
};
typedef std::uint16_t Halves __attribute__((vector_size(lanes * 2)));

inline bool isBrain(const ops::Tensor& x) { return x.dtype == ops::DType::bf16; }
template <class T>
T* elements(const ops::Tensor& x) {
  return static_cast<T*>(x.data);
}

// Calls f with something whose Type is that of x's elements: float or Brain.
template <class T>
struct Elements {
  using Type = T;
};
template <class F>
void withElements(const ops::Tensor& x, const F& f) {
  if (isBrain(x)) return f(Elements<Brain>{});
  f(Elements<float>{});
}

// The nearest bf16, in the upper halves of words; what is no number stays none.
LAZY_INLINE Unsigned rounded(Vector x) {
  const Unsigned bits = reinterpret_cast<Unsigned>(x);
  const Unsigned nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
  return reinterpret_cast<Unsigned>(select(x == x, reinterpret_cast<Vector>(nearest), splat(__builtin_nanf(""))));
}

LAZY_INLINE Vector load(const Brain* p) {
  Halves narrow;
  std::memcpy(&narrow, p, sizeof narrow);
  return reinterpret_cast<Vector>(__builtin_convertvector(narrow, Unsigned) << 16);
}
LAZY_INLINE void store(Brain* p, Vector v) {
  const Halves narrow = __builtin_convertvector(rounded(v) >> 16, Halves);
  std::memcpy(p, &narrow, sizeof narrow);
}
LAZY_INLINE Vector loadSome(const Brain* p, std::int64_t count, float fill = 0) {
  Vector v = splat(fill);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(p[i].bits) << 16;
    std::memcpy(reinterpret_cast<char*>(&v) + 4 * i, &bits, 4);
  }
  return v;
}
LAZY_INLINE void storeSome(Brain* p, Vector v, std::int64_t count) {
  const Unsigned bits = rounded(v);
  for (std::int64_t i = 0; i < count; ++i) p[i].bits = static_cast<std::uint16_t>(bits[i] >> 16);
}

inline float widened(Brain x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x.bits) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}
inline float widened(float x) { return x; }
inline void narrow(float x, float* to) { *to = x; }
inline void narrow(float x, Brain* to) { storeSome(to, splat(x), 1); }

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
