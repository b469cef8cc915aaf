// Ops whose unit is a row: RMSNorm, embedding, cross-entropy. Rows that are added up across threads go through partial
// sums over fixed ranges of rows, added in order.
#include <algorithm>
#include <cmath>

#include "packed.h"
#include "row_loops.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {
// Rows per task: about 64 KiB of them.
std::int64_t rowsPerTask(std::int64_t width) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, width));
}
}  // namespace

namespace {

template <class T>
void normRows(const ops::RmsNorm& op, Runtime& runtime) {
  runtime.pool.ranges(op.rows, rowsPerTask(op.width), [&](std::int64_t begin, std::int64_t end) {
    const T* weight = elements<T>(op.weight);
    for (std::int64_t r = begin; r < end; ++r) {
      const T* x = elements<T>(op.x) + r * op.width;
      T* out = elements<T>(op.out) + r * op.width;
      const Vector inverse = splat(inverseRms(x, op.width, op.epsilon));
      forEach(op.width, [&](auto at) { at.put(out, at(x) * inverse * at(weight)); });
    }
  });
}

// With r = 1 / sqrt(mean(x^2) + epsilon): dx = r (w dy - x r^2 mean(w dy x)), dw = sum over rows of dy x r.
template <class T>
void normGradRows(const ops::RmsNormGrad& op, Runtime& runtime, float* partials) {
  const std::int64_t grain = rowGrain(op.rows), chunks = rowChunks(op.rows);
  runtime.pool.run(chunks, [&](std::int64_t chunk, int) {
    const T* weight = elements<T>(op.weight);
    float* dweight = partials + chunk * op.width;
    std::fill_n(dweight, op.width, 0.0f);
    for (std::int64_t r = chunk * grain; r < std::min((chunk + 1) * grain, op.rows); ++r) {
      const T *x = elements<T>(op.x) + r * op.width, *dy = elements<T>(op.dy) + r * op.width;
      T* dx = elements<T>(op.dx) + r * op.width;
      const float rms = inverseRms(x, op.width, op.epsilon);
      const auto dot = static_cast<float>(sumOver(op.width, [&](auto at) { return at(dy) * at(weight) * at(x); }));
      const Vector inverse = splat(rms), factor = splat(rms * rms * dot / static_cast<float>(op.width));
      forEach(op.width, [&](auto at) {
        const Vector xs = at(x), dys = at(dy);
        at.put(dx, inverse * (at(weight) * dys - xs * factor));
        at.put(dweight, at(dweight) + dys * xs * inverse);
      });
    }
  });
  runtime.pool.ranges(op.width, 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      double total = 0;
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
        total += static_cast<double>(partials[chunk * op.width + i]);
      narrow(static_cast<float>(total), elements<T>(op.dweight) + i);
    }
  });
}

}  // namespace

void rmsNorm(const ops::RmsNorm& op, Runtime& runtime, void*) {
  withElements(op.x, [&](auto type) { normRows<typename decltype(type)::Type>(op, runtime); });
}

void rmsNormGrad(const ops::RmsNormGrad& op, Runtime& runtime, void* workspace) {
  withElements(op.x, [&](auto type) {
    normGradRows<typename decltype(type)::Type>(op, runtime, static_cast<float*>(workspace));
  });
}

namespace {
// A row of packed weights; few are wanted at a time, so a lane of each vector is.
template <class Format>
void unpackRow(const ops::Tensor& weight, std::int64_t id, std::int64_t width, float* out) {
  const int row = static_cast<int>(id % packedRows) / lanes * lanes, lane = static_cast<int>(id % lanes);
  for (std::int64_t column = 0; column < width; column += packedColumns) {
    const std::uint32_t* block = blockAt<Format>(weight, width, id, column);
    Vector scale = {}, offset = {};
    for (int i = 0; i < packedColumns; ++i) {
      constexpr int each = packedColumns / Format::parts;
      if (i % each == 0) {
        scale = scaleOf<Format>(block, row, i / each);
        offset = offsetOf<Format>(block, row, i / each);
      }
      const Vector code = Format::code(Format::load(block, row, i / Format::columns), i % Format::columns);
      const Vector y = Format::scaled ? scale * (code + splat(Format::centre)) + offset : code;
      out[column + i] = y[lane];
    }
  }
}
}  // namespace

void embedding(const ops::Embedding& op, Runtime& runtime, void*) {
  if (isPacked(op.weight)) {
    runtime.pool.ranges(op.count, 8, [&](std::int64_t begin, std::int64_t end) {
      withFormat(op.weight, [&](auto format) {
        for (std::int64_t r = begin; r < end; ++r)
          unpackRow<decltype(format)>(op.weight, integers(op.ids)[r], op.width, floats(op.out) + r * op.width);
      });
    });
    return;
  }
  withElements(op.weight, [&](auto each) {
    using T = typename decltype(each)::Type;
    runtime.pool.ranges(op.count, rowsPerTask(op.width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r)
        std::copy_n(elements<T>(op.weight) + integers(op.ids)[r] * op.width, op.width,
                    elements<T>(op.out) + r * op.width);
    });
  });
}

// Each task owns a range of the vocabulary and walks all ids, so rows are added in the order of the ids.
void embeddingGrad(const ops::EmbeddingGrad& op, Runtime& runtime, void*) {
  const std::int64_t grain = (op.vocabulary + 4 * runtime.pool.threads() - 1) / (4 * runtime.pool.threads());
  runtime.pool.ranges(op.vocabulary, grain, [&](std::int64_t begin, std::int64_t end) {
    std::fill(floats(op.dweight) + begin * op.width, floats(op.dweight) + end * op.width, 0.0f);
    for (std::int64_t r = 0; r < op.count; ++r) {
      const std::int64_t id = integers(op.ids)[r];
      if (id < begin || id >= end) continue;
      const float* dy = floats(op.dy) + r * op.width;
      float* __restrict out = floats(op.dweight) + id * op.width;
      for (std::int64_t i = 0; i < op.width; ++i) out[i] += dy[i];
    }
  });
}

namespace {

template <class T>
void lossRows(const ops::CrossEntropy& op, Runtime& runtime, double* partials) {
  const std::int64_t grain = rowGrain(op.rows), chunks = rowChunks(op.rows);
  runtime.pool.run(chunks, [&](std::int64_t chunk, int) {
    double total = 0;
    for (std::int64_t r = chunk * grain; r < std::min((chunk + 1) * grain, op.rows); ++r) {
      const T* logits = elements<T>(op.logits) + r * op.vocabulary;
      const float top = maximumOver(op.vocabulary, logits);
      const Vector shift = splat(top);
      const double rest =
          std::log(sumOver(op.vocabulary, [&](auto at) { return at.mask(exponentialOfNegative(at(logits) - shift)); }));
      floats(op.lse)[r] = static_cast<float>(static_cast<double>(top) + rest);
      const std::int64_t target = integers(op.targets)[r];
      if (target != op.ignoreIndex)
        total += static_cast<double>(top) - static_cast<double>(widened(logits[target])) + rest;
    }
    partials[chunk] = total;
  });
  double total = 0;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) total += partials[chunk];
  floats(op.loss)[0] = static_cast<float>(total / static_cast<double>(op.count));
}

template <class T>
void lossGradRows(const ops::CrossEntropyGrad& op, Runtime& runtime) {
  const float factor = floats(op.dloss)[0] / static_cast<float>(op.count);
  runtime.pool.ranges(op.rows, rowsPerTask(op.vocabulary), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* logits = elements<T>(op.logits) + r * op.vocabulary;
      T* out = elements<T>(op.dlogits) + r * op.vocabulary;
      const std::int64_t target = integers(op.targets)[r];
      if (target == op.ignoreIndex) {
        std::fill_n(out, op.vocabulary, T{});
        continue;
      }
      const float lse = floats(op.lse)[r];
      const Vector shift = splat(lse), f = splat(factor);
      forEach(op.vocabulary, [&](auto at) { at.put(out, exponential(at(logits) - shift) * f); });
      // From the probability as it is in f32, not as it was rounded.
      const Vector p = exponential(splat(widened(logits[target]) - lse));
      narrow(p[0] * factor - factor, out + target);
    }
  });
}

}  // namespace

void crossEntropy(const ops::CrossEntropy& op, Runtime& runtime, void* workspace) {
  withElements(op.logits, [&](auto type) {
    lossRows<typename decltype(type)::Type>(op, runtime, static_cast<double*>(workspace));
  });
}

void crossEntropyGrad(const ops::CrossEntropyGrad& op, Runtime& runtime, void*) {
  withElements(op.logits, [&](auto type) { lossGradRows<typename decltype(type)::Type>(op, runtime); });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
