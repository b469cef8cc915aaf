// Angles of RoPE (spec §RoPE), good to f32 at any position: base^(-2d/D) comes in double from the host, where it is cheap, and the
// angle is reduced in double.
#pragma once

#include <cmath>

#include "kernels/common.h"

namespace gpu {

inline constexpr int pairsPerLaunch = 128;
struct Frequencies {
  double of[pairsPerLaunch];
};

inline Frequencies frequenciesOf(double base, std::int64_t headDim, int firstPair, int pairs) {
  Frequencies frequencies{};
  for (int p = 0; p < pairs; ++p) {
    frequencies.of[p] = std::pow(base, -2.0 * (firstPair + p) / static_cast<double>(headDim));
  }
  return frequencies;
}

struct Turn {
  float cosine, sine;

  __device__ __forceinline__ Turn(std::int64_t position, double frequency) {
    const double turns = static_cast<double>(position) * frequency * 0.15915494309189533577;
    const auto angle = static_cast<float>((turns - floor(turns)) * 6.283185307179586477);
    cosine = cosf(angle);
    sine = sinf(angle);
  }
  __device__ __forceinline__ Turn(float cosineOf, float sineOf) : cosine(cosineOf), sine(sineOf) {}
  __device__ __forceinline__ float low(float low, float high) const { return low * cosine - high * sine; }
  __device__ __forceinline__ float high(float low, float high) const { return low * sine + high * cosine; }
};

}  // namespace gpu
