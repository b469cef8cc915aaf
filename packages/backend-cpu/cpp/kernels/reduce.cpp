// One number from the entries of an axis, x seen as [outer, length, inner].
//
// The axis is cut into chunks by the problem alone (reduceRows), each chunk gives a Partial, and these are combined in order:
// so results do not depend on threads. Adjacent entries (inner = 1) are reduced in vectors along the row; else vectors hold
// neighbouring columns. Sums: blocks in f32, added up in double.
#include <algorithm>
#include <cmath>
#include <limits>

#include "block_sum.h"
#include "kernels.h"
#include "row_loops.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t stretch = 256;  // columns at a time
constexpr std::int64_t block = 64;     // rows of columns that are summed in f32

// [rows][columns] of x, rows `stride` apart; the first row is number `first` of the axis.
struct Columns {
  const float* x;
  std::int64_t rows, stride, columns, first;
};

// visit(x) for each row, flush() after every `block` of them.
template <class Visit, class Flush>
LAZY_INLINE void inBlocks(const Columns& c, const Visit& visit, const Flush& flush) {
  for (std::int64_t row = 0; row < c.rows; row += block) {
    for (std::int64_t r = row; r < std::min(row + block, c.rows); ++r) visit(c.x + r * c.stride);
    flush();
  }
}

struct Sum {
  static Partial row(const float* x, std::int64_t count, std::int64_t) {
    return {blockSum(x, count, [](Vector v) { return v; }), 0};
  }
  static void columns(const Columns& c, Partial* out) {
    float sums[stretch] = {};
    std::fill_n(out, c.columns, Partial{0, 0});
    inBlocks(
        c, [&](const float* x) { forEach(c.columns, [&](auto at) { at.put(sums, at(sums) + at(x)); }); },
        [&] {
          for (std::int64_t j = 0; j < c.columns; ++j) out[j].value += static_cast<double>(sums[j]);
          std::fill_n(sums, c.columns, 0.0f);
        });
  }
  static void combine(Partial& total, const Partial& next) { total.value += next.value; }
  static double result(const Partial& total, std::int64_t) { return total.value; }
};

struct Mean : Sum {
  static double result(const Partial& total, std::int64_t length) { return total.value / static_cast<double>(length); }
};

// The larger, or where `sign` is -1 the smaller. NaN stays, whichever it is.
template <int sign, class V>
LAZY_INLINE V better(V a, V b) {
  return ((sign > 0 ? a > b : a < b) | (a != a)) ? a : b;
}

template <int sign>
struct Extreme {
  static float of(const float* x, std::int64_t count) {
    Vector top = splat(x[0]);
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) top = better<sign>(top, load(x + i));
    if (i < count) top = better<sign>(top, loadSome(x + i, count - i, x[0]));
    return halve<lanes>(top, [](auto a, auto b) { return better<sign>(a, b); });
  }
  static void of(const Columns& c, float* tops) {
    std::copy_n(c.x, c.columns, tops);
    for (std::int64_t r = 1; r < c.rows; ++r) {
      const float* x = c.x + r * c.stride;
      forEach(c.columns, [&](auto at) { at.put(tops, better<sign>(at(tops), at(x))); });
    }
  }
  static Partial row(const float* x, std::int64_t count, std::int64_t) {
    return {static_cast<double>(of(x, count)), 0};
  }
  static void columns(const Columns& c, Partial* out) {
    float tops[stretch];
    of(c, tops);
    for (std::int64_t j = 0; j < c.columns; ++j) out[j] = {static_cast<double>(tops[j]), 0};
  }
  static void combine(Partial& total, const Partial& next) { total.value = better<sign>(total.value, next.value); }
  static double result(const Partial& total, std::int64_t) { return total.value; }
};

// `extra` is the place.
struct ArgMax {
  static Partial row(const float* x, std::int64_t count, std::int64_t first) {
    const float top = Extreme<1>::of(x, count);
    std::int64_t i = 0;
    while (top == top ? x[i] != top : x[i] == x[i]) ++i;
    return {static_cast<double>(top), static_cast<double>(first + i)};
  }
  static void columns(const Columns& c, Partial* out) {
    for (std::int64_t j = 0; j < c.columns; ++j) out[j] = {static_cast<double>(c.x[j]), static_cast<double>(c.first)};
    for (std::int64_t r = 1; r < c.rows; ++r) {
      for (std::int64_t j = 0; j < c.columns; ++j)
        combine(out[j], {static_cast<double>(c.x[r * c.stride + j]), static_cast<double>(c.first + r)});
    }
  }
  static void combine(Partial& total, const Partial& next) {
    if (next.value > total.value || (next.value != next.value && total.value == total.value)) total = next;
  }
  static double result(const Partial& total, std::int64_t) { return total.extra; }
};

// `value` is the largest entry, `extra` the sum of exp(entry - largest).
struct LogSumExp {
  // An infinite largest entry is the result; the sum is then of no use, and must only not be NaN.
  static float shiftOf(float top) { return std::fabs(top) < infinity ? top : 0.0f; }

  static Partial row(const float* x, std::int64_t count, std::int64_t) {
    const float top = Extreme<1>::of(x, count);
    const Vector shift = splat(shiftOf(top));
    const auto term = [&](Vector v) { return exponentialOfNegative(v - shift); };
    return {static_cast<double>(top), blockSum(x, count, term, -infinity)};
  }
  static void columns(const Columns& c, Partial* out) {
    float tops[stretch], shifts[stretch], sums[stretch] = {};
    Extreme<1>::of(c, tops);
    for (std::int64_t j = 0; j < c.columns; ++j) {
      shifts[j] = shiftOf(tops[j]);
      out[j] = {static_cast<double>(tops[j]), 0};
    }
    inBlocks(
        c,
        [&](const float* x) {
          forEach(c.columns, [&](auto at) { at.put(sums, at(sums) + exponentialOfNegative(at(x) - at(shifts))); });
        },
        [&] {
          for (std::int64_t j = 0; j < c.columns; ++j) out[j].extra += static_cast<double>(sums[j]);
          std::fill_n(sums, c.columns, 0.0f);
        });
  }
  static void combine(Partial& total, const Partial& next) {
    const double top = better<1>(total.value, next.value);
    if (std::fabs(top) < static_cast<double>(infinity))
      total.extra = total.extra * std::exp(total.value - top) + next.extra * std::exp(next.value - top);
    total.value = top;
  }
  static double result(const Partial& total, std::int64_t) {
    return std::fabs(total.value) < static_cast<double>(infinity) ? total.value + std::log(total.extra) : total.value;
  }
};

template <class Function>
void put(const ops::Reduce& op, std::int64_t place, const Partial& total) {
  const double result = Function::result(total, op.length);
  if (op.out.dtype == ops::DType::i32) {
    integers(op.out)[place] = static_cast<std::int32_t>(result);
  } else {
    floats(op.out)[place] = static_cast<float>(result);
  }
}

template <class Function>
void reduceWith(const ops::Reduce& op, Runtime& runtime, Partial* partials) {
  const std::int64_t rows = reduceRows(op), chunks = reduceChunks(op), stretches = (op.inner + stretch - 1) / stretch;
  const std::int64_t entries = std::min(rows, op.length) * std::min(op.inner, stretch);  // of an item
  runtime.pool.ranges(op.outer * chunks * stretches, std::max<std::int64_t>(1, sumGrain / 2 / entries),
                      [&](std::int64_t begin, std::int64_t end) {
                        Partial found[stretch];
                        for (std::int64_t item = begin; item < end; ++item) {
                          const std::int64_t column = item % stretches * stretch, piece = item / stretches;
                          const std::int64_t first = piece % chunks * rows, o = piece / chunks;
                          const std::int64_t count = std::min(rows, op.length - first);
                          const float* x = floats(op.x) + (o * op.length + first) * op.inner + column;
                          const std::int64_t width = std::min(stretch, op.inner - column);
                          if (op.inner == 1) {
                            found[0] = Function::row(x, count, first);
                          } else {
                            Function::columns({x, count, op.inner, width, first}, found);
                          }
                          if (chunks > 1) {
                            std::copy_n(found, width, partials + piece * op.inner + column);
                          } else {
                            for (std::int64_t j = 0; j < width; ++j)
                              put<Function>(op, o * op.inner + column + j, found[j]);
                          }
                        }
                      });
  if (chunks == 1) return;
  runtime.pool.ranges(op.outer * op.inner, 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t place = begin; place < end; ++place) {
      const Partial* first = partials + place / op.inner * chunks * op.inner + place % op.inner;
      Partial total = *first;
      for (std::int64_t chunk = 1; chunk < chunks; ++chunk) Function::combine(total, first[chunk * op.inner]);
      put<Function>(op, place, total);
    }
  });
}

}  // namespace

void reduce(const ops::Reduce& op, Runtime& runtime, void* workspace) {
  auto* const partials = static_cast<Partial*>(workspace);
  switch (op.fn) {
    case ops::ReduceFunction::sum:
      return reduceWith<Sum>(op, runtime, partials);
    case ops::ReduceFunction::mean:
      return reduceWith<Mean>(op, runtime, partials);
    case ops::ReduceFunction::max:
      return reduceWith<Extreme<1>>(op, runtime, partials);
    case ops::ReduceFunction::min:
      return reduceWith<Extreme<-1>>(op, runtime, partials);
    case ops::ReduceFunction::logSumExp:
      return reduceWith<LogSumExp>(op, runtime, partials);
    case ops::ReduceFunction::argmax:
      return reduceWith<ArgMax>(op, runtime, partials);
  }
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
