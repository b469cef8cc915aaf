// Products with few rows, as in decoding. The time is that of streaming B once from memory, so B is neither packed nor read
// twice, and every thread streams a stretch of its own.
//
// B transposed ([n, k], a Linear layer's weight): each output is a dot product along a row of B. B is cut into four streams of
// consecutive rows, a quarter of it apart, and a thread reads a row of each side by side: the processor's prefetchers follow
// four long streams better than one. (Two, where registers are too few for the sums of three rows of A and more.)
// B plain ([k, n]): rows of B are added up, scaled, in registers. Measurements: docs/kernels/cpu.md.
#include <algorithm>

#include "packed.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t ahead = 2048;  // floats, asked for where there are two streams; beyond the end nothing is read

// Rows of B read side by side for R rows of A: as many as there are registers for their sums.
constexpr int streamsOf(int R) { return 4 * R <= registers / 2 ? 4 : 2; }

// out[r][s] (+)= a[r] . b[s] for R rows of A and S of B, which are `apart` floats, and their outputs `apartOut`, from each other.
// The first `whole` of k fill vectors, in all chains of sums.
template <int R, int S>
LAZY_INLINE void dots(const ops::Matmul& op, const float* a, const float* b, std::int64_t apart, std::int64_t whole,
                      float* out, std::int64_t apartOut) {
  constexpr int chains = R == 1 ? 2 : 1;  // independent sums, to hide the latency of an addition
  Vector sums[R][S][chains] = {};
  for (std::int64_t p = 0; p < whole; p += chains * lanes) {
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s)
#pragma GCC unroll 2
      for (int c = 0; c < chains; ++c) {
        if constexpr (S == 2) {
          if ((p + c * lanes) % 16 == 0) __builtin_prefetch(b + s * apart + p + c * lanes + ahead, 0, 0);
        }
        const Vector y = load(b + s * apart + p + c * lanes);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) sums[r][s][c] += load(a + r * op.k + p + c * lanes) * y;
      }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s) {
      float total = sumOf(chains == 1 ? sums[r][s][0] : sums[r][s][0] + sums[r][s][chains - 1]);
      for (std::int64_t rest = whole; rest < op.k; ++rest) total += a[r * op.k + rest] * b[s * apart + rest];
      float& to = out[r * op.n + s * apartOut];
      to = op.accumulate ? to + total : total;
    }
}

// Rows [begin, end) of each of the streams that B is cut into; the last stream may be short, and some empty.
template <int R>
void dotRows(const ops::Matmul& op, const float* a, const float* b, float* c, std::int64_t begin, std::int64_t end) {
  constexpr int S = streamsOf(R), step = (R == 1 ? 2 : 1) * lanes;
  const std::int64_t stream = (op.n + S - 1) / S, whole = op.k / step * step;
  const std::int64_t full = std::clamp(op.n - (S - 1) * stream, begin, end);  // from here on some stream is at its end
  const ops::Matmul local = op;                                               // nobody writes to it
  for (std::int64_t j = begin; j < full; ++j) dots<R, S>(local, a, b + j * op.k, stream * op.k, whole, c + j, stream);
  for (std::int64_t j = full; j < end; ++j)
    for (std::int64_t row = j; row < op.n; row += stream) dots<R, 1>(local, a, b + row * op.k, 0, whole, c + row, 0);
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

constexpr Stretch dotsOf[] = {dotRows<1>, dotRows<2>, dotRows<3>, dotRows<4>};
constexpr Stretch addsOf[] = {addRows<1>, addRows<2>, addRows<3>, addRows<4>};

// How a product is cut into items: a group of rows of every stream of packed weights; else about 64 KiB of B, as rows of every
// stream or whole groups of columns.
struct Cut {
  explicit Cut(const ops::Matmul& op) {
    if (isPacked(op.b)) {
      stretch = packedStretch(op);
      count = items = packedStretchLength(op);
      grain = 1;
      return;
    }
    stretch = (op.transposeB ? dotsOf : addsOf)[op.m - 1];
    const std::int64_t rows = std::max<std::int64_t>(16384 / std::max<std::int64_t>(op.k, 1), 1);
    const std::int64_t streams = op.transposeB ? streamsOf(static_cast<int>(op.m)) : 1;
    const std::int64_t group = op.transposeB ? 1 : 4 * lanes;
    count = (op.n + streams - 1) / streams;
    grain = std::max(rows / streams / group, std::int64_t{1}) * group;
    items = (count + grain - 1) / grain;
  }

  Stretch stretch;
  std::int64_t count, grain, items;  // of a batch entry
};

}  // namespace

bool matmulThin(const ops::Matmul* products, int count, Runtime& runtime) {
  const auto thin = [](const ops::Matmul& op) {
    return op.m <= mostRows && (!op.transposeA || op.m == 1);
  };  // one row is the same either way
  if (!std::all_of(products, products + count, thin)) return false;
  std::int64_t items = 0;
  for (int i = 0; i < count; ++i) items += products[i].batch * Cut(products[i]).items;
  runtime.pool.stream(items, [&](std::int64_t item, std::int64_t end) {
    std::int64_t first = 0;  // of this product, counted through all of them
    for (const ops::Matmul* op = products; item < end; ++op) {
      const Cut cut(*op);
      const std::int64_t last = std::min(end, first + op->batch * cut.items);
      while (item < last) {
        const std::int64_t batch = (item - first) / cut.items, from = (item - first) % cut.items;
        const std::int64_t to = std::min(cut.items, from + last - item);
        cut.stretch(*op, floats(op->a) + batch * op->m * op->k, floats(op->b) + batch * op->k * op->n,
                    floats(op->out) + batch * op->m * op->n, from * cut.grain, std::min(to * cut.grain, cut.count));
        item += to - from;
      }
      first += op->batch * cut.items;
    }
  });
  return true;
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
