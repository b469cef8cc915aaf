// Gradients of what attention learned: sums of a head over the rows of a task, added up over tasks in order, so every run is alike.
#pragma once

#include <algorithm>

#include "kernels.h"

namespace lazy_cpu {
namespace LAZY_ISA {

// Gradients of the learned inputs [H]: sums of one head over the rows of a task.
struct HeadSums {
  double tau, sink;

  // Calls visit(sum, gradient) for each.
  template <class Visit>
  static void each(const Visit& visit) {
    visit(&HeadSums::tau, &ops::Learned::tau);
    visit(&HeadSums::sink, &ops::Learned::sink);
  }
};

// Floats of the sums of a bias's gradient, which vectors may run over.
inline std::int64_t biasWidth(const ops::AttentionSizes& sizes) { return sizes.window + 16; }

// dbias[distance] += ds, reversed as in reverseBias.
inline void addBiasGradient(const float* gradient, std::int64_t count, std::int64_t window, float* dbias) {
  const std::int64_t near = std::min(count, window);
  const float* from = gradient + count - near;
  float* to = dbias + window - near;
  std::int64_t j = 0;
  for (; j + lanes <= near; j += lanes) store(to + j, load(to + j) + load(from + j));
  if (j < near) store(to + j, load(to + j) + select(firstLanes(near - j), load(from + j), Vector{}));
}

// From the sums of all tasks, which are (batch, kv head, split), each with the heads of its group; biases [task][head][biasWidth].
inline void writeLearned(const ops::AttentionGrad& op, std::int64_t splits, const HeadSums* heads, const float* dbias) {
  const ops::AttentionSizes& sizes = op.in.sizes;
  const std::int64_t group = sizes.heads / sizes.kvHeads;
  for (std::int64_t h = 0; h < sizes.heads; ++h) {
    const auto sum = [&](const auto& value) {
      double total = 0;
      for (std::int64_t b = 0; b < sizes.batch; ++b)
        for (std::int64_t split = 0; split < splits; ++split)
          total += value(((b * sizes.kvHeads + h / group) * splits + split) * group + h % group);
      return static_cast<float>(total);
    };
    HeadSums::each([&](double HeadSums::* part, ops::Tensor ops::Learned::* gradient) {
      const ops::Tensor& out = op.gradients.*gradient;
      if (out) floats(out)[h] = sum([&](std::int64_t i) { return heads[i].*part; });
    });
    if (!op.gradients.bias) continue;
    for (std::int64_t d = 0; d < sizes.window; ++d) {
      floats(op.gradients.bias)[h * sizes.window + d] =
          sum([&](std::int64_t i) { return static_cast<double>(dbias[i * biasWidth(sizes) + sizes.window - 1 - d]); });
    }
  }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
