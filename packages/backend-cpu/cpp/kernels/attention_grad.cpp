// Lazy Attention backward (spec §Backward): five products per tile of query rows.
//
//   S = Q K'     G = dO V'     p, w, m from S and the kept row statistics;  delta = sum p m g  (the definition: the
//   dQ = dS K    dK += dS' Q    dV += W' dO                      strip of G holds whole rows, so u is not needed)
//
// G counts only where m is 1 and dV only where w > 0, so both go over the active tiles alone (found from the scores, before
// the exponentials); ds = p (m g - delta) is not zero elsewhere, and the other three products go over all.
//
// Task: one (batch, kv head) with all query heads of its group, in order, so dK and dV are summed in one place in one
// order. With too few of them the query tiles are dealt out, each share sums into its own dK and dV, and these are added
// in order. Gradients of learned inputs are summed per task and added in order: no atomics, every run alike.
#include <algorithm>
#include <cmath>

#include "attention_learned.h"
#include "attention_tile.h"
#include "brain.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

// How the work is cut: a task is one kv head of a batch entry, or a share of its query tiles.
struct Tasks {
  Tasks(const Layout& layout, int threads)
      : splits(
            layout.sizes.batch * layout.sizes.kvHeads >= 2 * threads || threads == 1
                ? 1
                : std::min<std::int64_t>(layout.tiles, (2 * threads + layout.sizes.batch * layout.sizes.kvHeads - 1) /
                                                           (layout.sizes.batch * layout.sizes.kvHeads))),
        count(layout.sizes.batch * layout.sizes.kvHeads * splits),
        threads(threads) {}

  std::int64_t splits, count;
  int threads;
  // Room for dK and dV: one per thread, or one per task where tasks are added up.
  std::int64_t accumulators() const { return splits > 1 ? count : threads; }
};

struct Scratch {  // of one thread
  float *keyColumns, *keyRows, *valueColumns, *scores, *gradients, *query, *dout, *dquery, *bias;
  ActiveChunks active;

  static std::size_t floats(const Layout& layout) {
    return static_cast<std::size_t>(
        roundUp(2 * layout.keys * layout.sizes.headDim + layout.dim * layout.sizes.keyLength +
                    2 * layout.tileHeight * layout.stride + 3 * layout.tileHeight * layout.dim + layout.reversedBias() +
                    ActiveChunks::floats(layout.keys),
                16));
  }
  Scratch(const Layout& layout, float* memory)
      : keyColumns(memory),
        keyRows(keyColumns + layout.keys * layout.sizes.headDim),
        valueColumns(keyRows + layout.dim * layout.sizes.keyLength),
        scores(valueColumns + layout.keys * layout.sizes.headDim),
        gradients(scores + layout.tileHeight * layout.stride),
        query(gradients + layout.tileHeight * layout.stride),
        dout(query + layout.tileHeight * layout.dim),
        dquery(dout + layout.tileHeight * layout.dim),
        bias(dquery + layout.tileHeight * layout.dim),
        active(bias + layout.reversedBias()) {}
};

// The workspace: per-thread scratch, then dK and dV sums, then those of the learned inputs per task and head of the group.
struct Workspace {
  float *scratch, *sums, *dbias;
  HeadSums* heads;

  static std::size_t sumFloats(const Layout& layout) {
    return static_cast<std::size_t>(2 * layout.sizes.keyLength * layout.dim);
  }
  static std::size_t biasFloats(const Layout& layout) {
    return static_cast<std::size_t>(layout.group * biasWidth(layout.sizes));
  }
  static std::size_t bytes(const Layout& layout, const Tasks& tasks) {
    const auto n = [](std::int64_t x) { return static_cast<std::size_t>(x); };
    return (n(tasks.threads) * Scratch::floats(layout) + n(tasks.accumulators()) * sumFloats(layout) +
            (n(tasks.count) * biasFloats(layout) + 1) / 2 * 2) *
               sizeof(float) +
           n(tasks.count * layout.group) * sizeof(HeadSums);
  }
  Workspace(const Layout& layout, const Tasks& tasks, float* memory) : scratch(memory) {
    const auto n = [](std::int64_t x) { return static_cast<std::size_t>(x); };
    sums = scratch + n(tasks.threads) * Scratch::floats(layout);
    dbias = sums + n(tasks.accumulators()) * sumFloats(layout);
    heads = reinterpret_cast<HeadSums*>(dbias + (n(tasks.count) * biasFloats(layout) + 1) / 2 * 2);
  }
};

// A score up to this has p + offset <= 0 for certain (spec §Inactive tiles); NaN where any may have more. The margin is
// far beyond the rounding of top, of the logarithm and of the exponential that decides later.
inline float inactiveUpTo(float top, float inverse, float offset) {
  const bool usual = offset <= 0 && std::fabs(top) <= std::numeric_limits<float>::max();
  if (!usual) return std::numeric_limits<float>::quiet_NaN();
  const float margin = 1e-3f + 1e-6f * std::fabs(top);
  // At an offset of zero only a p that underflows is inactive.
  return top + std::max(std::log(-offset / inverse), -87.3f) - margin;
}

struct RowSums {
  float active;  // sum of m g: the row's share of dtau, times n
  float delta;
};

// One row: scores become w, gradients become ds; the gradients of inactive weights may be anything.
inline RowSums differentiateRow(float* score, float* gradient, std::int64_t count, float top, float inverse,
                                float offset) {
  const Vector shift = splat(top), f = splat(inverse), o = splat(offset), zero = {};
  Vector delta = {}, active = {};
  forEachPadded(count, [&](auto at) {
    const Vector p = at.mask(exponentialOfNegative(at(score) - shift) * f);
    const Vector mg = p + o > zero ? at.mask(at(gradient)) : zero;
    delta += p * mg;
    active += mg;
    at.put(score, p);
    at.put(gradient, mg);
  });
  const float sum = sumOf(delta);
  const Vector total = splat(sum);
  forEachPadded(count, [&](auto at) {
    const Vector p = at(score);
    const Vector w = p + o;
    at.put(gradient, p * (at(gradient) - total));
    at.put(score, w < zero ? zero : w);
  });
  return {sumOf(active), sum};
}

void differentiateTile(const ops::AttentionGrad& op, const Layout& layout, const TileRows& t, std::int64_t b,
                       std::int64_t h, const Scratch& x, float* dk, float* dv, float* dbias, HeadSums& total) {
  const HeadInputs head(op.in, h, x.bias);
  const std::int64_t ld = layout.sizes.heads * layout.sizes.headDim;
  copyTile(floats(op.in.q) + layout.queryAt(b, t.first, h), ld, t.count, layout, static_cast<float>(op.in.scale),
           x.query);
  copyTile(floats(op.dout) + layout.queryAt(b, t.first, h), ld, t.count, layout, 1.0f, x.dout);
  scoreProducts(layout, t, x.query, x.keyColumns, nullptr, x.scores);
  const auto* tops = static_cast<const float*>(op.saved) + layout.statisticAt(b, h, t.first);
  const float* inverses = tops + layout.sizes.batch * layout.sizes.heads * layout.sizes.queryLength;
  float offsets[queryRows], limits[queryRows];
  for (std::int64_t r = 0; r < t.count; ++r) {
    const std::int64_t count = t.end(r) - t.begin(r);
    if (head.bias != nullptr) addBias(x.scores + r * layout.stride + t.begin(r), count, head.bias, layout.sizes.window);
    offsets[r] = head.tau == nullptr ? 0.0f : *head.tau * (1.0f / static_cast<float>(count));
    limits[r] = inactiveUpTo(tops[r], inverses[r], offsets[r]);
    findActive(layout, t, r, x.scores, limits, x.active);
  }
  scoreProducts(layout, t, x.dout, x.valueColumns, &x.active, x.gradients);
  for (std::int64_t r = 0; r < t.count; ++r) {
    const std::int64_t count = t.end(r) - t.begin(r), group = r / tileRows * tileRows;
    float *scores = x.scores + r * layout.stride, *gradients = x.gradients + r * layout.stride;
    const RowSums sums =
        differentiateRow(scores + t.begin(r), gradients + t.begin(r), count, tops[r], inverses[r], offsets[r]);
    total.tau += static_cast<double>(sums.active) * static_cast<double>(1.0f / static_cast<float>(count));
    total.sink -= static_cast<double>(head.beside(tops[r]) * inverses[r] * sums.delta);
    if (head.bias != nullptr) addBiasGradient(gradients + t.begin(r), count, layout.sizes.window, dbias);
    clearAround(scores, t, r, group);
    clearAround(gradients, t, r, group);
  }
  valueProducts(layout, t, x.gradients, x.keyRows, nullptr, x.dquery);
  for (std::int64_t r = 0; r < t.count; ++r) {
    float* out = floats(op.dq) + layout.queryAt(b, t.first + r, h);
    for (std::int64_t d = 0; d < layout.sizes.headDim; ++d)
      out[d] = x.dquery[r * layout.dim + d] * static_cast<float>(op.in.scale);
  }
  keyProducts(layout, t, x.gradients, x.query, nullptr, dk);  // the query tile has the scale in it
  keyProducts(layout, t, x.scores, x.dout, &x.active, dv);
}

// dk and dv of (b, kv) = the sum of `parts` accumulators that lie one behind the other.
void writeKeys(const ops::AttentionGrad& op, const Layout& layout, std::int64_t b, std::int64_t kv, const float* sums,
               std::int64_t parts) {
  const std::int64_t size = layout.sizes.keyLength * layout.dim;
  for (std::int64_t j = 0; j < layout.sizes.keyLength; ++j) {
    float *dk = floats(op.dk) + layout.keyAt(b, j, kv), *dv = floats(op.dv) + layout.keyAt(b, j, kv);
    const float* from = sums + j * layout.dim;
    std::copy_n(from, layout.sizes.headDim, dk);
    std::copy_n(from + size, layout.sizes.headDim, dv);
    for (std::int64_t part = 1; part < parts; ++part) {
      const float* more = from + part * 2 * size;
      for (std::int64_t d = 0; d < layout.sizes.headDim; ++d) {
        dk[d] += more[d];
        dv[d] += more[size + d];
      }
    }
  }
}

}  // namespace

std::size_t attentionGradWorkspace(const ops::AttentionInputs& in, const Machine& machine) {
  if (isBrain(in.q)) return attentionGradBrainBytes(in, machine.threads);
  const Layout layout(in.sizes);
  return Workspace::bytes(layout, Tasks(layout, machine.threads));
}

void attentionGrad(const ops::AttentionGrad& op, Runtime& runtime, void* memory) {
  if (isBrain(op.in.q)) return attentionGradBrain(op, runtime, static_cast<float*>(memory));
  const Layout layout(op.in.sizes);
  const Tasks tasks(layout, runtime.pool.threads());
  const Workspace w(layout, tasks, static_cast<float*>(memory));
  runtime.pool.run(tasks.count, [&](std::int64_t item, int thread) {
    const std::int64_t split = item % tasks.splits, kv = item / tasks.splits % layout.sizes.kvHeads;
    const std::int64_t b = item / tasks.splits / layout.sizes.kvHeads, ld = layout.sizes.kvHeads * layout.sizes.headDim;
    const Scratch x(layout, w.scratch + static_cast<std::size_t>(thread) * Scratch::floats(layout));
    packColumns(floats(op.in.k) + layout.keyAt(b, 0, kv), ld, layout.sizes.headDim, layout.sizes.keyLength,
                x.keyColumns);
    packRows(floats(op.in.k) + layout.keyAt(b, 0, kv), ld, layout.sizes.keyLength, layout.sizes.headDim, x.keyRows);
    packColumns(floats(op.in.v) + layout.keyAt(b, 0, kv), ld, layout.sizes.headDim, layout.sizes.keyLength,
                x.valueColumns);
    float* dk = w.sums + static_cast<std::size_t>(tasks.splits > 1 ? item : thread) * Workspace::sumFloats(layout);
    float* dv = dk + layout.sizes.keyLength * layout.dim;
    std::fill_n(dk, Workspace::sumFloats(layout), 0.0f);
    float* dbias = w.dbias + static_cast<std::size_t>(item) * Workspace::biasFloats(layout);
    std::fill_n(dbias, Workspace::biasFloats(layout), 0.0f);
    for (std::int64_t g = 0; g < layout.group; ++g, dbias += biasWidth(layout.sizes)) {
      const std::int64_t h = kv * layout.group + g;
      HeadSums& total = w.heads[item * layout.group + g];
      total = {};
      if (op.in.bias) reverseBias(floats(op.in.bias) + h * layout.sizes.window, layout.sizes.window, x.bias);
      for (std::int64_t tile = split; tile < layout.tiles; tile += tasks.splits)
        differentiateTile(op, layout, TileRows(layout, op.in.starts, b, tile), b, h, x, dk, dv, dbias, total);
    }
    if (tasks.splits == 1) writeKeys(op, layout, b, kv, dk, 1);
  });
  if (tasks.splits > 1) {
    runtime.pool.run(layout.sizes.batch * layout.sizes.kvHeads, [&](std::int64_t unit, int) {
      writeKeys(op, layout, unit / layout.sizes.kvHeads, unit % layout.sizes.kvHeads,
                w.sums + static_cast<std::size_t>(unit * tasks.splits) * Workspace::sumFloats(layout), tasks.splits);
    });
  }
  writeLearned(op, tasks.splits, w.heads, w.dbias);
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
