// Elastic-Softmax on dense scores, and its gradient (spec §Forward, spec §Backward). The ops to check and to explain
// with; attention.cpp is the one for speed.
#include <algorithm>
#include <limits>

#include "kernels.h"
#include "row_loops.h"
#include "row_softmax.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

struct Span {
  std::int64_t first, count;  // attended keys of a row
};

Span spanOf(const ops::Tensor& starts, std::int64_t batch, std::int64_t row, std::int64_t queries, std::int64_t keys) {
  const std::int64_t first = starts ? integers(starts)[batch * queries + row] : 0;
  return {first, row + keys - queries + 1 - first};
}

}  // namespace

void elasticSoftmax(const ops::ElasticSoftmax& op, Runtime& runtime, void*) {
  const std::int64_t rows = op.batch * op.heads * op.queryLength;
  runtime.pool.ranges(rows, std::max<std::int64_t>(1, 8192 / op.keyLength), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t r = row % op.queryLength, h = row / op.queryLength % op.heads;
      const Span span = spanOf(op.starts, row / op.queryLength / op.heads, r, op.queryLength, op.keyLength);
      const float* scores = floats(op.scores) + row * op.keyLength;
      float* out = floats(op.out) + row * op.keyLength;
      std::copy_n(scores + span.first, span.count, out + span.first);
      const RowStatistics statistics = exponentials(out + span.first, span.count);
      elasticWeights(out + span.first, span.count, statistics.inverse,
                     op.tau ? floats(op.tau)[h] / static_cast<float>(span.count) : 0.0f);
      std::fill(out, out + span.first, 0.0f);
      std::fill(out + span.first + span.count, out + op.keyLength, 0.0f);
    }
  });
}

void elasticSoftmaxGrad(const ops::ElasticSoftmaxGrad& op, Runtime& runtime, void* workspace) {
  auto* const partials = static_cast<double*>(workspace);
  const std::int64_t rows = op.batch * op.heads * op.queryLength;
  runtime.pool.ranges(rows, std::max<std::int64_t>(1, 8192 / op.keyLength), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t r = row % op.queryLength, h = row / op.queryLength % op.heads;
      const Span span = spanOf(op.starts, row / op.queryLength / op.heads, r, op.queryLength, op.keyLength);
      const float* g = floats(op.dweights) + row * op.keyLength + span.first;
      float* all = floats(op.dscores) + row * op.keyLength;
      float* out = all + span.first;
      std::copy_n(floats(op.scores) + row * op.keyLength + span.first, span.count, out);
      const Vector inverse = splat(exponentials(out, span.count).inverse);
      const float share = 1.0f / static_cast<float>(span.count);
      const Vector offset = splat(op.tau ? floats(op.tau)[h] * share : 0.0f);
      Vector delta = {}, active = {};
      forEach(span.count, [&](auto at) {
        const Vector p = at(out) * inverse;
        const Vector gm = at.mask(p + offset > Vector{} ? at(g) : Vector{});
        active += gm;
        delta += p * gm;
      });
      const Vector total = splat(sumOf(delta));
      forEach(span.count, [&](auto at) {
        const Vector p = at(out) * inverse;
        at.put(out, p * ((p + offset > Vector{} ? at(g) : Vector{}) - total));
      });
      std::fill(all, out, 0.0f);
      std::fill(out + span.count, all + op.keyLength, 0.0f);
      if (op.dtau) partials[row] = static_cast<double>(sumOf(active)) * static_cast<double>(share);
    }
  });
  if (!op.dtau) return;
  for (std::int64_t h = 0; h < op.heads; ++h) {
    double total = 0;
    for (std::int64_t b = 0; b < op.batch; ++b)
      for (std::int64_t r = 0; r < op.queryLength; ++r) total += partials[(b * op.heads + h) * op.queryLength + r];
    floats(op.dtau)[h] = static_cast<float>(total);
  }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
