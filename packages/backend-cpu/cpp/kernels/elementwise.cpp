// Ops that read each element once: their time is that of memory. Plain loops, which the compiler turns into vectors of
// this instruction set, over ranges that the threads share.
#include <cmath>
#include <cstring>

#include "block_sum.h"
#include "brain.h"
#include "row_loops.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {
constexpr std::int64_t grain = 1 << 14;

}  // namespace

void full(const ops::Fill& op, Runtime& runtime, void*) {
  Brain narrow{};
  storeSome(&narrow, splat(static_cast<float>(op.value)), 1);
  runtime.pool.ranges(op.out.size, grain, [&](std::int64_t begin, std::int64_t end) {
    if (op.out.dtype == ops::DType::i32) {
      std::fill(integers(op.out) + begin, integers(op.out) + end, static_cast<std::int32_t>(op.value));
    } else if (isBrain(op.out)) {
      std::fill(elements<Brain>(op.out) + begin, elements<Brain>(op.out) + end, narrow);
    } else {
      std::fill(floats(op.out) + begin, floats(op.out) + end, static_cast<float>(op.value));
    }
  });
}

void cast(const ops::Cast& op, Runtime& runtime, void*) {
  withElements(op.x, [&](auto from) {
    withElements(op.out, [&](auto to) {
      runtime.pool.ranges(op.x.size, grain, [&](std::int64_t begin, std::int64_t end) {
        const auto* x = elements<typename decltype(from)::Type>(op.x) + begin;
        auto* out = elements<typename decltype(to)::Type>(op.out) + begin;
        forEach(end - begin, [&](auto at) { at.put(out, at(x)); });
      });
    });
  });
}

void copyRows(const ops::CopyRows& op, Runtime& runtime, void*) {
  const std::size_t size = ops::bytesPerElement(op.from.dtype),
                    bytes = static_cast<std::size_t>(op.count * op.inner) * size;
  const auto entry = static_cast<std::int64_t>(size) * op.inner;
  const auto* from = static_cast<const char*>(op.from.data) + op.fromStart * entry;
  auto* to = static_cast<char*>(op.to.data) + op.toStart * entry;
  const std::int64_t rows = std::max<std::int64_t>(1, 4 * grain / std::max<std::int64_t>(1, op.count * op.inner));
  runtime.pool.ranges(op.outer, rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t o = begin; o < end; ++o)
      std::memcpy(to + o * op.toLength * entry, from + o * op.fromLength * entry, bytes);
  });
}

void scale(const ops::Scale& op, Runtime& runtime, void*) {
  const Vector factor = splat(static_cast<float>(op.factor));
  withElements(op.x, [&](auto type) {
    using T = typename decltype(type)::Type;
    runtime.pool.ranges(op.out.size, grain, [&](std::int64_t begin, std::int64_t end) {
      const T* x = elements<T>(op.x) + begin;
      T* out = elements<T>(op.out) + begin;
      forEach(end - begin, [&](auto at) { at.put(out, at(x) * factor); });
    });
  });
}

void sumSquares(const ops::SumSquares& op, Runtime& runtime, void* workspace) {
  auto* const partials = static_cast<double*>(workspace);
  struct Piece {
    const float* data;
    std::int64_t count;
  };
  std::vector<Piece> pieces;
  for (const ops::Tensor& x : op.xs)
    for (std::int64_t begin = 0; begin < x.size; begin += sumGrain)
      pieces.push_back({floats(x) + begin, std::min(sumGrain, x.size - begin)});
  runtime.pool.run(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i, int) {
    const Piece& piece = pieces[static_cast<std::size_t>(i)];
    partials[i] = blockSum(piece.data, piece.count, [](Vector x) { return x * x; });
  });
  double total = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) total += partials[i];
  floats(op.out)[0] = static_cast<float>(total);
}

namespace {

template <class T>
void ropeRows(const ops::Rope& op, Runtime& runtime) {
  const float* cosines = runtime.rope.get(op, runtime.pool);
  const std::int64_t half = op.headDim / 2;
  const float* sines = cosines + op.length * half;
  const Vector sign = splat(op.inverse ? -1.0f : 1.0f);
  const std::int64_t row = op.heads * op.headDim;
  runtime.pool.ranges(op.batch * op.length, std::max<std::int64_t>(1, grain / row),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t r = begin; r < end; ++r) {
                          const float* c = cosines + r % op.length * half;
                          const float* s = sines + r % op.length * half;
                          for (std::int64_t h = 0; h < op.heads; ++h) {
                            const T* x = elements<T>(op.x) + r * row + h * op.headDim;
                            T* out = elements<T>(op.out) + r * row + h * op.headDim;
                            forEach(half, [&](auto at) {
                              const Vector x1 = at(x), x2 = at(x + half), cosine = at(c), sine = at(s) * sign;
                              at.put(out, x1 * cosine - x2 * sine);
                              at.put(out + half, x2 * cosine + x1 * sine);
                            });
                          }
                        }
                      });
}

}  // namespace

// spec §RoPE: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin) on the two halves of each head.
void rope(const ops::Rope& op, Runtime& runtime, void*) {
  withElements(op.x, [&](auto type) { ropeRows<typename decltype(type)::Type>(op, runtime); });
}

void swiglu(const ops::Swiglu& op, Runtime& runtime, void*) {
  withElements(op.gate, [&](auto type) {
    using T = typename decltype(type)::Type;
    runtime.pool.ranges(op.out.size, grain, [&](std::int64_t begin, std::int64_t end) {
      const T *gate = elements<T>(op.gate) + begin, *up = elements<T>(op.up) + begin;
      T* out = elements<T>(op.out) + begin;
      forEach(end - begin, [&](auto at) {
        const Vector g = at(gate);
        at.put(out, g / (splat(1.0f) + exponential(-g)) * at(up));
      });
    });
  });
}

// With s = sigmoid(gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.
void swigluGrad(const ops::SwigluGrad& op, Runtime& runtime, void*) {
  withElements(op.gate, [&](auto type) {
    using T = typename decltype(type)::Type;
    runtime.pool.ranges(op.dy.size, grain, [&](std::int64_t begin, std::int64_t end) {
      const T *gate = elements<T>(op.gate) + begin, *up = elements<T>(op.up) + begin, *dy = elements<T>(op.dy) + begin;
      T *dgate = elements<T>(op.dgate) + begin, *dup = elements<T>(op.dup) + begin;
      forEach(end - begin, [&](auto at) {
        const Vector g = at(gate), d = at(dy), one = splat(1.0f);
        const Vector s = one / (one + exponential(-g));
        at.put(dgate, d * at(up) * s * (one + g * (one - s)));
        at.put(dup, d * g * s);
      });
    });
  });
}

// kernels.ts "adamw". The clip factor comes from the device, so that no gradient norm has to be waited for.
void adamw(const ops::AdamW& op, Runtime& runtime, void*) {
  const float clip = op.normSquared
                         ? static_cast<float>(std::min(
                               1.0, op.maxNorm / (std::sqrt(static_cast<double>(floats(op.normSquared)[0])) + 1e-6)))
                         : 1.0f;
  struct Piece {
    const ops::AdamW::Update* update;
    std::int64_t begin, end;
  };
  std::vector<Piece> pieces;
  for (const ops::AdamW::Update& update : op.updates)
    for (std::int64_t begin = 0; begin < update.param.size; begin += grain)
      pieces.push_back({&update, begin, std::min(begin + grain, update.param.size)});
  const auto beta1 = static_cast<float>(op.beta1), beta2 = static_cast<float>(op.beta2);
  const auto rest1 = static_cast<float>(1 - op.beta1), rest2 = static_cast<float>(1 - op.beta2);
  const auto rate = static_cast<float>(op.learningRate / op.correction1);
  const auto correction = static_cast<float>(1 / op.correction2), epsilon = static_cast<float>(op.epsilon);
  runtime.pool.run(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t item, int) {
    const Piece& piece = pieces[static_cast<std::size_t>(item)];
    const ops::AdamW::Update& u = *piece.update;
    const auto decay = static_cast<float>(1 - op.learningRate * u.weightDecay);
    float* __restrict param = floats(u.param);
    float* __restrict first = floats(u.m);
    float* __restrict second = floats(u.v);
    const float* __restrict grad = floats(u.grad);
    for (std::int64_t i = piece.begin; i < piece.end; ++i) {
      const float g = grad[i] * clip;
      const float m = beta1 * first[i] + rest1 * g;
      const float v = beta2 * second[i] + rest2 * g * g;
      first[i] = m;
      second[i] = v;
      param[i] = param[i] * decay - rate * m / (std::sqrt(v * correction) + epsilon);
    }
  });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
