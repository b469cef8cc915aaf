// y = fn(x) element by element, in vectors, over ranges that the threads share.
#include "kernels.h"
#include "row_loops.h"
#include "vector_math.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t grain = 1 << 14;

// One line per name of LAZY_UNARY_FUNCTIONS. Comparisons are written so that NaN stays what it is.
namespace functions {
LAZY_INLINE Vector neg(Vector x) { return -x; }
LAZY_INLINE Vector exp(Vector x) { return exponential(x); }
LAZY_INLINE Vector log(Vector x) { return logarithm(x); }
LAZY_INLINE Vector sqrt(Vector x) { return squareRoot(x); }
LAZY_INLINE Vector rsqrt(Vector x) { return splat(1.0f) / squareRoot(x); }
LAZY_INLINE Vector abs(Vector x) { return magnitude(x); }
LAZY_INLINE Vector sign(Vector x) { return select(x > Vector{}, splat(1.0f), select(x < Vector{}, splat(-1.0f), x)); }
LAZY_INLINE Vector sin(Vector x) { return sine(x, 0); }
LAZY_INLINE Vector cos(Vector x) { return sine(x, 1); }
LAZY_INLINE Vector tanh(Vector x) { return hyperbolicTangent(x); }
LAZY_INLINE Vector sigmoid(Vector x) { return logistic(x); }
LAZY_INLINE Vector softplus(Vector x) {
  // log(1 + e) from u = 1 + e as it was rounded, so that a small e keeps its digits.
  const Vector e = exponential(-magnitude(x)), u = splat(1.0f) + e, rounded = u - splat(1.0f);
  const Vector tail = select(rounded > Vector{}, logarithm(u) * (e / rounded), e);
  return select(x < Vector{}, Vector{}, x) + tail;
}
LAZY_INLINE Vector relu(Vector x) { return select(x < Vector{}, Vector{}, x); }
LAZY_INLINE Vector silu(Vector x) { return x * logistic(x); }
LAZY_INLINE Vector gelu(Vector x) { return gaussianErrorLinear(x); }
LAZY_INLINE Vector reciprocal(Vector x) { return splat(1.0f) / x; }
LAZY_INLINE Vector square(Vector x) { return x * x; }
}  // namespace functions

template <class Function>
void map(const ops::Unary& op, Runtime& runtime, const Function& function) {
  runtime.pool.ranges(op.x.size, grain, [&](std::int64_t begin, std::int64_t end) {
    const float* x = floats(op.x) + begin;
    float* out = floats(op.out) + begin;
    forEach(end - begin, [&](auto at) { at.put(out, function(at(x))); });
  });
}

}  // namespace

void unary(const ops::Unary& op, Runtime& runtime, void*) {
  switch (op.fn) {
#define LAZY_CASE(name)          \
  case ops::UnaryFunction::name: \
    return map(op, runtime, [](Vector x) { return functions::name(x); });
    LAZY_UNARY_FUNCTIONS(LAZY_CASE)
#undef LAZY_CASE
  }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
