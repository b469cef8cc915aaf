// out = fn(a, b) with operands that repeat along axes. Rows of the last axis are vectors where an operand lies in order or
// stands still, and single elements where it lies apart.
#include <algorithm>
#include <cmath>
#include <limits>

#include "row_loops.h"
#include "vector_math.h"
#include "walk.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t grain = 1 << 14;

LAZY_INLINE Vector oneWhere(Integers mask) { return select(mask, splat(1.0f), Vector{}); }

// One line per name of LAZY_BINARY_FUNCTIONS.
namespace functions {
LAZY_INLINE Vector add(Vector a, Vector b) { return a + b; }
LAZY_INLINE Vector sub(Vector a, Vector b) { return a - b; }
LAZY_INLINE Vector mul(Vector a, Vector b) { return a * b; }
LAZY_INLINE Vector div(Vector a, Vector b) { return a / b; }
LAZY_INLINE Vector max(Vector a, Vector b) { return select((a > b) | (a != a), a, b); }
LAZY_INLINE Vector min(Vector a, Vector b) { return select((a < b) | (a != a), a, b); }
LAZY_INLINE Vector less(Vector a, Vector b) { return oneWhere(a < b); }
LAZY_INLINE Vector lessEqual(Vector a, Vector b) { return oneWhere(a <= b); }
LAZY_INLINE Vector equal(Vector a, Vector b) { return oneWhere(a == b); }
LAZY_INLINE Vector keep(Vector a, Vector b) { return select(a != Vector{}, b, Vector{}); }
// C's pow lets pow(NaN, 0) and pow(1, NaN) be 1.
LAZY_INLINE Vector pow(Vector a, Vector b) {
  Vector y = a + b;
  for (int i = 0; i < lanes; ++i)
    if (a[i] == a[i] && b[i] == b[i]) y[i] = std::pow(a[i], b[i]);
  return y;
}
}  // namespace functions

// One operand of a row: in order, standing still, or apart.
struct Along {
  const float* x;
  template <class At>
  LAZY_INLINE Vector operator()(At at) const {
    return at(x);
  }
};
struct Still {
  Vector x;
  template <class At>
  LAZY_INLINE Vector operator()(At) const {
    return x;
  }
};
struct Apart {
  const float* x;
  std::int64_t stride;
  LAZY_INLINE Vector operator()(WholeVector at) const { return gather(at.i, lanes); }
  LAZY_INLINE Vector operator()(PartOfVector at) const { return gather(at.i, at.count); }
  LAZY_INLINE Vector gather(std::int64_t from, std::int64_t count) const {
    Vector v = {};
    for (std::int64_t i = 0; i < count; ++i) v[i] = x[(from + i) * stride];
    return v;
  }
};

template <class Visit>
LAZY_INLINE void withOperand(const float* x, std::int64_t stride, const Visit& visit) {
  if (stride == 1) return visit(Along{x});
  if (stride == 0) return visit(Still{splat(*x)});
  visit(Apart{x, stride});
}

template <class, class Function>
void combine(const ops::BinaryView& op, Runtime& runtime, const Function& function) {
  const std::int64_t last = op.sizes.count - 1, strideA = op.stridesA[last], strideB = op.stridesB[last];
  const ops::Axes* const strides[] = {&op.stridesA, &op.stridesB};
  runtime.pool.ranges(op.out.size, grain, [&](std::int64_t begin, std::int64_t end) {
    forRows(op.sizes, strides, begin, end,
            [&](const std::int64_t (&at)[2], std::int64_t column, std::int64_t place, std::int64_t count) {
              float* out = floats(op.out) + place;
              withOperand(floats(op.a) + at[0] + column * strideA, strideA, [&](const auto& a) {
                withOperand(floats(op.b) + at[1] + column * strideB, strideB,
                            [&](const auto& b) { forEach(count, [&](auto i) { i.put(out, function(a(i), b(i))); }); });
              });
            });
  });
}

template <class T, class Function>
void combine(const ops::Binary& op, Runtime& runtime, const Function& function) {
  runtime.pool.ranges(op.out.size, grain, [&](std::int64_t begin, std::int64_t end) {
    const T *a = elements<T>(op.a) + begin, *b = elements<T>(op.b) + begin;
    T* out = elements<T>(op.out) + begin;
    forEach(end - begin, [&](auto i) { i.put(out, function(i(a), i(b))); });
  });
}

template <class T, class Op>
void combineBy(const Op& op, Runtime& runtime) {
  switch (op.fn) {
#define LAZY_CASE(name)           \
  case ops::BinaryFunction::name: \
    return combine<T>(op, runtime, [](Vector a, Vector b) { return functions::name(a, b); });
    LAZY_BINARY_FUNCTIONS(LAZY_CASE)
#undef LAZY_CASE
  }
}

}  // namespace

void binary(const ops::Binary& op, Runtime& runtime, void*) {
  withElements(op.a, [&](auto type) { combineBy<typename decltype(type)::Type>(op, runtime); });
}
void binaryView(const ops::BinaryView& op, Runtime& runtime, void*) { combineBy<float>(op, runtime); }

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
