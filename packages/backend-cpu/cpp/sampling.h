// A token from the logits of one position: `sampleToken` of packages/core/src/sample.ts, number by number.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lazy_cpu {

struct Sampling {
  double temperature, topP;
  std::int64_t topK;
};

// Doubles of scratch.
std::size_t samplingDoubles(std::int64_t vocabulary);
// `uniform` is in [0, 1). Returns the id, or -1 - id of the first logit that is NaN.
std::int32_t sampleToken(const float* logits, std::int64_t vocabulary, const Sampling& sampling, double uniform,
                         double* scratch);

}  // namespace lazy_cpu
