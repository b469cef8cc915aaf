#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace lazy_cpu {

namespace {

// How many of the weights, from the largest on, it takes to reach `share` of their sum.
std::int64_t nucleus(const double* falling, std::int64_t count, double share) {
  const double target = share * std::accumulate(falling, falling + count, 0.0);
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    sum += falling[i];
    if (sum >= target) return i + 1;
  }
  return count;
}

}  // namespace

std::size_t samplingDoubles(std::int64_t vocabulary) { return static_cast<std::size_t>(3 * vocabulary); }

std::int32_t sampleToken(const float* logits, std::int64_t vocabulary, const Sampling& sampling, double uniform,
                         double* scratch) {
  std::int64_t best = 0;
  for (std::int64_t id = 0; id < vocabulary; ++id) {
    if (std::isnan(logits[id])) return static_cast<std::int32_t>(-1 - id);
    if (logits[id] > logits[best]) best = id;
  }
  if (sampling.temperature == 0) return static_cast<std::int32_t>(best);

  double *const weights = scratch, *const sorted = scratch + vocabulary, *const falling = sorted + vocabulary;
  const double top = static_cast<double>(logits[best]);
  const auto weight = [&](double logit) { return std::exp((logit - top) / sampling.temperature); };
  std::transform(logits, logits + vocabulary, weights, [&](float logit) { return weight(static_cast<double>(logit)); });
  if (sampling.topK < vocabulary || sampling.topP != 1) {
    std::copy(logits, logits + vocabulary, sorted);
    std::int64_t count = sampling.topK;
    std::partial_sort(sorted, sorted + count, sorted + vocabulary, std::greater<>());
    if (sampling.topP != 1) {
      std::transform(sorted, sorted + count, falling, weight);
      count = nucleus(falling, count, sampling.topP);
    }
    const double threshold = sorted[count - 1];
    std::int64_t ties = sorted + count - std::find(sorted, sorted + count, threshold);
    for (std::int64_t id = 0; id < vocabulary; ++id) {
      const auto logit = static_cast<double>(logits[id]);
      const bool keep = logit > threshold || (logit == threshold && ties-- > 0);
      if (!keep) weights[id] = 0;
    }
  }
  double remaining = uniform * std::accumulate(weights, weights + vocabulary, 0.0);
  for (std::int64_t id = 0; id < vocabulary; ++id) {
    remaining -= weights[id];
    if (remaining < 0) return static_cast<std::int32_t>(id);
  }
  return static_cast<std::int32_t>(best);  // rounding alone can lead here
}

}  // namespace lazy_cpu
