// Functions of a vector of f32, good to a few units in the last place over their whole range (spec §Not a number: NaN in
// gives NaN out). Polynomials are Taylor series unless they say otherwise.
#pragma once

#include <cmath>
#include <limits>

#include "simd.h"

namespace lazy_cpu {
namespace LAZY_ISA {

// coefficients[0] + x (coefficients[1] + x (...)).
template <std::size_t N>
LAZY_INLINE Vector polynomial(Vector x, const float (&coefficients)[N]) {
  Vector y = splat(coefficients[N - 1]);
#pragma GCC unroll 16
  for (std::size_t i = 1; i < N; ++i) y = y * x + splat(coefficients[N - 1 - i]);
  return y;
}

LAZY_INLINE Vector magnitude(Vector x) { return reinterpret_cast<Vector>(reinterpret_cast<Integers>(x) & 0x7fffffff); }
// |x| with the sign of `of`.
LAZY_INLINE Vector withSign(Vector x, Vector of) {
  return reinterpret_cast<Vector>((reinterpret_cast<Integers>(x) & 0x7fffffff) |
                                  (reinterpret_cast<Integers>(of) & ~0x7fffffff));
}

// Lane by lane, which compilers make one instruction of.
LAZY_INLINE Vector squareRoot(Vector x) {
  Vector y = {};
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) y[i] = std::sqrt(x[i]);
  return y;
}

// x = 2^n m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m - 1) / (m + 1)).
LAZY_INLINE Vector logarithm(Vector x) {
  const float smallest = std::numeric_limits<float>::min(), infinity = std::numeric_limits<float>::infinity();
  const Integers tiny = x < splat(smallest);
  const Vector scaled = select(tiny, x * splat(8388608.0f), x);  // 2^23: no denormals from here on
  // The bits of sqrt(1/2) taken away leave n in the exponent.
  const Unsigned bits = reinterpret_cast<Unsigned>(scaled) - 0x3f3504f3u;
  const Integers n = reinterpret_cast<Integers>(bits) >> 23;
  const Vector m = reinterpret_cast<Vector>((bits & 0x7fffffu) + 0x3f3504f3u);
  const Vector exponent = __builtin_convertvector(n, Vector) - select(tiny, splat(23.0f), Vector{});
  const Vector s = (m - splat(1.0f)) / (m + splat(1.0f)), z = s * s;
  const float series[] = {2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9, 2.0f / 11};
  // ln 2 in two parts, the first of which times n is exact.
  const Vector y = splat(2.0f) * s + (z * s * polynomial(z, series) - exponent * splat(2.12194440e-4f)) +
                   exponent * splat(0.693359375f);
  const Vector edge = select(x == Vector{}, splat(-infinity), splat(std::numeric_limits<float>::quiet_NaN()));
  return select(x > Vector{}, select(x == splat(infinity), x, y), edge);
}

// 1 - 2 / (e^2x + 1), and the series where that would cancel.
LAZY_INLINE Vector hyperbolicTangent(Vector x) {
  const Vector a = magnitude(x), z = x * x;
  const Vector far = splat(1.0f) - splat(2.0f) / (exponential(a + a) + splat(1.0f));
  const float series[] = {1, -1.0f / 3, 2.0f / 15, -17.0f / 315, 62.0f / 2835, -1382.0f / 155925, 21844.0f / 6081075};
  return select(a < splat(0.4f), x * polynomial(z, series), withSign(far, x));
}

LAZY_INLINE Vector logistic(Vector x) { return splat(1.0f) / (splat(1.0f) + exponential(-x)); }

// erfc(z) for z >= 0: t e^(-z^2) P(t) with t = 1 / (1 + 0.4 z). P interpolates at Chebyshev's nodes for z up to 12, where the
// result is 0 in f32; its relative error is 3e-8.
LAZY_INLINE Vector complementaryError(Vector z) {
  const float fit[] = {2.257038110e-01f,  2.249986001e-01f, 2.146521931e-01f,  1.303521059e-01f, 2.717673754e-01f,
                       -2.867894678e-01f, 5.537705062e-01f, -5.059832951e-01f, 2.020264239e-01f, -3.049824999e-02f};
  const Vector t = splat(1.0f) / (splat(1.0f) + splat(0.4f) * z);
  return t * exponential(-(z * z)) * polynomial(t, fit);
}

// x times the share of a normal distribution below x.
LAZY_INLINE Vector gaussianErrorLinear(Vector x) {
  const Vector tail = splat(0.5f) * complementaryError(magnitude(x) * splat(0.70710678118654752f));
  return x * select(x < Vector{}, tail, splat(1.0f) - tail);
}

// sin(x + quadrants pi / 2). n = x / (pi / 2) to nearest; r = x - n pi / 2 in three steps, of which the first two are exact for
// n below 2^13. Lanes beyond that, infinity and NaN go through the C library, which reduces exactly.
LAZY_INLINE Vector sine(Vector x, int quadrants) {
  const Vector shifter = splat(12582912.0f);
  const Vector t = x * splat(0.63661977236758134f) + shifter, n = t - shifter;
  Vector r = x - n * splat(1.5703125f);
  r = r - n * splat(4.837512969970703e-4f);
  r = r - n * splat(7.549790126404332e-8f);
  const Integers quadrant = reinterpret_cast<Integers>(t) + quadrants;
  const Vector z = r * r;
  const float sines[] = {1, -1.0f / 6, 1.0f / 120, -1.0f / 5040, 1.0f / 362880};
  const float cosines[] = {1, -1.0f / 2, 1.0f / 24, -1.0f / 720, 1.0f / 40320, -1.0f / 3628800};
  Vector y = select((quadrant & 1) == 0, r * polynomial(z, sines), polynomial(z, cosines));
  y = reinterpret_cast<Vector>(reinterpret_cast<Unsigned>(y) ^ (reinterpret_cast<Unsigned>(quadrant & 2) << 30));
  const Integers far = ~(magnitude(x) < splat(8192.0f));
  if (!anyLane(far)) return y;
  for (int i = 0; i < lanes; ++i) {
    if (!far[i]) continue;
    const double exact = quadrants == 0 ? std::sin(static_cast<double>(x[i])) : std::cos(static_cast<double>(x[i]));
    y[i] = static_cast<float>(exact);
  }
  return y;
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
