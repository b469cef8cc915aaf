// What the machine could do at most, measured: the yardstick for benchmarks.
#include "kernels.h"

namespace lazy_cpu {
namespace LAZY_ISA {

// Independent chains of multiply-adds, enough to hide their latency. Returns the operations done.
double multiplyAdds(std::int64_t rounds, float* sink) {
  constexpr int chains = 12;
  Vector sums[chains];
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sums[i] = splat(static_cast<float>(i));
  const Vector factor = splat(sink[0]), term = splat(sink[1]);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) {
      sums[i] = sums[i] * factor + term;
      // The loop must run: without this its result could be computed in closed form.
      asm volatile("" : "+" LAZY_VECTOR_CONSTRAINT(sums[i]));
    }
  }
  Vector total = {};
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) total += sums[i];
  sink[2] = sumOf(total);
  return static_cast<double>(rounds) * chains * lanes * 2;
}

// Reads all of `data`; returns a sum, so that the reads happen.
float readAll(const float* data, std::int64_t count) {
  Vector sums[8] = {};
  for (std::int64_t i = 0; i + 8 * lanes <= count; i += 8 * lanes)
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) sums[v] += load(data + i + v * lanes);
  Vector total = {};
  for (const Vector& sum : sums) total += sum;
  return sumOf(total);
}

// The same, in four places a quarter of the block from each other.
float readFourfold(const float* data, std::int64_t count) {
  const std::int64_t quarter = count / 4;
  Vector sums[4][2] = {};
  for (std::int64_t i = 0; i + 2 * lanes <= quarter; i += 2 * lanes)
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) sums[q][v] += load(data + q * quarter + i + v * lanes);
  Vector total = {};
  for (const auto& sum : sums) total += sum[0] + sum[1];
  return sumOf(total);
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
