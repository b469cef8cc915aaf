// Products with few rows, as in decoding: the time is that of streaming B once from memory, so B is neither packed nor
// read twice, and every thread streams its own stretch of it.
//
// B transposed ([n, k], a Linear layer's weight): each output is a dot product along a row of B; four rows of B at a time
// keep four streams open and share the loads of A. B plain ([k, n]): rows of B are added up, scaled, in registers.
#include <algorithm>

#include "kernels.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t mostRows = 4;

// out[r][j] (+)= a[r] . b[j] for R rows of A and J rows of B.
template <int R, int J>
void dots(const float* a, std::int64_t lda, const float* b, std::int64_t ldb, std::int64_t k, float* out,
          std::int64_t ldc, bool accumulate) {
  Vector sums[R][J] = {};
  const std::int64_t whole = k / lanes * lanes;
  for (std::int64_t p = 0; p < whole; p += lanes) {
    Vector y[J];
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) y[j] = load(b + j * ldb + p);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Vector x = load(a + r * lda + p);
#pragma GCC unroll 4
      for (int j = 0; j < J; ++j) sums[r][j] += x * y[j];
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int j = 0; j < J; ++j) {
      float total = sumOf(sums[r][j]);
      for (std::int64_t p = whole; p < k; ++p) total += a[r * lda + p] * b[j * ldb + p];
      out[r * ldc + j] = accumulate ? out[r * ldc + j] + total : total;
    }
  }
}

template <int R>
void dotRows(const ops::Matmul& op, const float* a, const float* b, float* c, std::int64_t begin, std::int64_t end) {
  std::int64_t j = begin;
  for (; j + 4 <= end; j += 4) dots<R, 4>(a, op.k, b + j * op.k, op.k, op.k, c + j, op.n, op.accumulate);
  for (; j < end; ++j) dots<R, 1>(a, op.k, b + j * op.k, op.k, op.k, c + j, op.n, op.accumulate);
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

bool matmulThin(const ops::Matmul& op, Runtime& runtime) {
  if (op.m > mostRows || (op.transposeA && op.m > 1)) return false;  // one row is the same either way
  const Stretch stretch = (op.transposeB ? dotsOf : addsOf)[op.m - 1];
  // About 64 KiB of B at a time, whole groups of columns.
  const std::int64_t grain = std::max<std::int64_t>(4 * lanes, 16384 / std::max<std::int64_t>(op.k, 1) / 64 * 64);
  const std::int64_t stretches = (op.n + grain - 1) / grain;
  runtime.pool.run(op.batch * stretches, [&](std::int64_t item, int) {
    const std::int64_t batch = item / stretches, begin = item % stretches * grain;
    stretch(op, floats(op.a) + batch * op.m * op.k, floats(op.b) + batch * op.k * op.n,
            floats(op.out) + batch * op.m * op.n, begin, std::min(begin + grain, op.n));
  });
  return true;
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
