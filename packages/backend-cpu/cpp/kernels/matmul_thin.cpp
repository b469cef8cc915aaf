// Products with few rows, as in decoding: the time is that of streaming B once from memory, so B is neither packed nor
// read twice, and every thread streams its own stretch of it.
//
// B transposed ([n, k], a Linear layer's weight): each output is a dot product along a row of B. One row at a time, so that
// a thread reads its stretch from front to back: that is what the processor's prefetchers are best at. B plain ([k, n]): rows
// of B are added up, scaled, in registers.
//
// Measured with 110 MB of rows of 512 (Zen 4, two cores, GB/s on one and on both): this without asking ahead 31 and 39, as fast
// as reading without arithmetic (31 and 37). What failed there: two, four or eight rows of B at a time, to share the loads of A
// (12 and 24, 14 and 27, 18 and 31: several short streams); prefetching 1 to 8 KiB ahead in software (28 and 37).
//
// Zen 5, two cores, ms for the same, reading alone 1.43: without asking ahead 1.65, with 2 KiB 1.53, 8 KiB 1.49, 16 KiB 1.48, 32 KiB
// 1.52; four rows at a time 1.50 without asking. Asked for past the outer caches (NTA), a product takes as
// long; meant to leave keys, values and JavaScript there. A whole token took 2 and 3 % less in two comparisons of one process
// each, which differ by 7 % among themselves, so that is not established.
#include <algorithm>

#include "kernels.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t mostRows = 4;
constexpr std::int64_t ahead = 2048;  // floats; beyond the end nothing is read

// out[r] (+)= a[r] . b for R rows of A and one row of B.
template <int R>
void dots(const float* a, std::int64_t lda, const float* b, std::int64_t k, float* out, std::int64_t ldc,
          bool accumulate) {
  constexpr int chains = R == 1 ? 4 : 2;  // independent sums, to hide the latency of an addition
  Vector sums[R][chains] = {};
  const auto step = [&](std::int64_t p, auto width) {
    constexpr int n = decltype(width)::value;
    Vector y[n];
#pragma GCC unroll 4
    for (int c = 0; c < n; ++c) __builtin_prefetch(b + p + c * lanes + ahead, 0, 0);
#pragma GCC unroll 4
    for (int c = 0; c < n; ++c) y[c] = load(b + p + c * lanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < n; ++c) sums[r][c] += load(a + r * lda + p + c * lanes) * y[c];
  };
  std::int64_t p = 0;
  for (; p + chains * lanes <= k; p += chains * lanes) step(p, std::integral_constant<int, chains>{});
  for (; p + lanes <= k; p += lanes) step(p, std::integral_constant<int, 1>{});
  for (int r = 0; r < R; ++r) {
    for (int c = 1; c < chains; ++c) sums[r][0] += sums[r][c];
    float total = sumOf(sums[r][0]);
    for (std::int64_t rest = p; rest < k; ++rest) total += a[r * lda + rest] * b[rest];
    out[r * ldc] = accumulate ? out[r * ldc] + total : total;
  }
}

template <int R>
void dotRows(const ops::Matmul& op, const float* a, const float* b, float* c, std::int64_t begin, std::int64_t end) {
  for (std::int64_t j = begin; j < end; ++j) dots<R>(a, op.k, b + j * op.k, op.k, c + j, op.n, op.accumulate);
}

// out[r][begin..end) (+)= sum over p of a[r][p] b[p][...]; columns in stretches that fit registers.
template <int R>
void addRows(const ops::Matmul& op, const float* a, const float* b, float* c, std::int64_t begin, std::int64_t end) {
  constexpr int wide = 4;
  std::int64_t j = begin;
  for (; j + wide * lanes <= end; j += wide * lanes) {
    Vector sums[R][wide] = {};
    for (std::int64_t p = 0; p < op.k; ++p) {
      Vector y[wide];
#pragma GCC unroll 4
      for (int v = 0; v < wide; ++v) y[v] = load(b + p * op.n + j + v * lanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < wide; ++v) sums[r][v] += splat(a[r * op.k + p]) * y[v];
    }
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < wide; ++v) {
        float* out = c + r * op.n + j + v * lanes;
        store(out, op.accumulate ? load(out) + sums[r][v] : sums[r][v]);
      }
    }
  }
  for (; j < end; ++j) {
    for (int r = 0; r < R; ++r) {
      float total = op.accumulate ? c[r * op.n + j] : 0.0f;
      for (std::int64_t p = 0; p < op.k; ++p) total += a[r * op.k + p] * b[p * op.n + j];
      c[r * op.n + j] = total;
    }
  }
}

using Stretch = void (*)(const ops::Matmul&, const float*, const float*, float*, std::int64_t, std::int64_t);
constexpr Stretch dotsOf[] = {dotRows<1>, dotRows<2>, dotRows<3>, dotRows<4>};
constexpr Stretch addsOf[] = {addRows<1>, addRows<2>, addRows<3>, addRows<4>};

}  // namespace

bool matmulThin(const ops::Matmul* products, int count, Runtime& runtime) {
  const auto thin = [](const ops::Matmul& op) { return op.m <= mostRows && (!op.transposeA || op.m == 1); };  // one row is the same either way
  if (!std::all_of(products, products + count, thin)) return false;
  // About 64 KiB of B at a time; whole groups of columns, or of dot products that share a cache line of the output.
  const auto grainOf = [](const ops::Matmul& op) {
    const std::int64_t group = op.transposeB ? 16 : 4 * lanes;
    return std::max(group, 16384 / std::max<std::int64_t>(op.k, 1) / group * group);
  };
  const auto stretchesOf = [&](const ops::Matmul& op) { return (op.n + grainOf(op) - 1) / grainOf(op); };
  std::int64_t items = 0;
  for (int i = 0; i < count; ++i) items += products[i].batch * stretchesOf(products[i]);
  runtime.pool.run(items, [&](std::int64_t item, int) {
    const ops::Matmul* op = products;
    for (; item >= op->batch * stretchesOf(*op); ++op) item -= op->batch * stretchesOf(*op);
    const std::int64_t grain = grainOf(*op), batch = item / stretchesOf(*op), begin = item % stretchesOf(*op) * grain;
    (op->transposeB ? dotsOf : addsOf)[op->m - 1](*op, floats(op->a) + batch * op->m * op->k,
                                                  floats(op->b) + batch * op->k * op->n,
                                                  floats(op->out) + batch * op->m * op->n, begin,
                                                  std::min(begin + grain, op->n));
  });
  return true;
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
