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
// in order. dbias and dtau are summed per task and added in order: no atomics, every run alike.
#include <algorithm>
#include <cmath>

#include "attention_tile.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

struct Plan {
  Plan(const Shape& s, int threads)
      : splits(s.z.batch * s.z.kvHeads >= 2 * threads || threads == 1
                   ? 1
                   : std::min<std::int64_t>(s.tiles,
                                            (2 * threads + s.z.batch * s.z.kvHeads - 1) / (s.z.batch * s.z.kvHeads))),
        tasks(s.z.batch * s.z.kvHeads * splits),
        threads(threads) {}

  std::int64_t splits, tasks;
  int threads;
  // Room for dK and dV: one per thread, or one per task where tasks are added up.
  std::int64_t accumulators() const { return splits > 1 ? tasks : threads; }
};

struct Scratch {  // of one thread
  float *keyColumns, *keyRows, *valueColumns, *scores, *gradients, *query, *dout, *dquery, *bias;
  ActiveChunks active;

  static std::size_t floats(const Shape& s) {
    return static_cast<std::size_t>(roundUp(2 * s.keys * s.z.headDim + s.dim * s.z.keyLength +
                                                2 * s.tileHeight * s.stride + 3 * s.tileHeight * s.dim +
                                                s.reversedBias() + ActiveChunks::floats(s.keys),
                                            16));
  }
  Scratch(const Shape& s, float* memory)
      : keyColumns(memory),
        keyRows(keyColumns + s.keys * s.z.headDim),
        valueColumns(keyRows + s.dim * s.z.keyLength),
        scores(valueColumns + s.keys * s.z.headDim),
        gradients(scores + s.tileHeight * s.stride),
        query(gradients + s.tileHeight * s.stride),
        dout(query + s.tileHeight * s.dim),
        dquery(dout + s.tileHeight * s.dim),
        bias(dquery + s.tileHeight * s.dim),
        active(bias + s.reversedBias()) {}
};

// The workspace: per-thread scratch, then dK and dV sums, then dbias and dtau per task and head of the group.
struct Workspace {
  float *scratch, *sums, *dbias;
  double* dtau;

  static std::size_t sumFloats(const Shape& s) { return static_cast<std::size_t>(2 * s.z.keyLength * s.dim); }
  static std::size_t biasFloats(const Shape& s) { return static_cast<std::size_t>(s.group * (s.z.window + 16)); }
  static std::size_t bytes(const Shape& s, const Plan& plan) {
    const auto n = [](std::int64_t x) { return static_cast<std::size_t>(x); };
    return (n(plan.threads) * Scratch::floats(s) + n(plan.accumulators()) * sumFloats(s) +
            (n(plan.tasks) * biasFloats(s) + 1) / 2 * 2) *
               sizeof(float) +
           n(plan.tasks * s.group) * sizeof(double);
  }
  Workspace(const Shape& s, const Plan& plan, float* memory) : scratch(memory) {
    const auto n = [](std::int64_t x) { return static_cast<std::size_t>(x); };
    sums = scratch + n(plan.threads) * Scratch::floats(s);
    dbias = sums + n(plan.accumulators()) * sumFloats(s);
    dtau = reinterpret_cast<double*>(dbias + (n(plan.tasks) * biasFloats(s) + 1) / 2 * 2);
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

// One row: scores become w, gradients become ds; the gradients of inactive weights may be anything. Returns the row's
// share of dtau (times n).
inline float differentiateRow(float* score, float* gradient, std::int64_t count, float top, float inverse,
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
  const Vector total = splat(sumOf(delta));
  forEachPadded(count, [&](auto at) {
    const Vector p = at(score);
    const Vector w = p + o;
    at.put(gradient, p * (at(gradient) - total));
    at.put(score, w < zero ? zero : w);
  });
  return sumOf(active);
}

// dbias[distance] += ds, reversed as in reverseBias.
inline void addBiasGradient(const float* gradient, std::int64_t count, std::int64_t window, float* dbias) {
  const std::int64_t near = std::min(count, window);
  const float* from = gradient + count - near;
  float* to = dbias + window - near;
  std::int64_t j = 0;
  for (; j + lanes <= near; j += lanes) store(to + j, load(to + j) + load(from + j));
  if (j < near) store(to + j, load(to + j) + select(firstLanes(near - j), load(from + j), Vector{}));
}

void differentiateTile(const ops::AttentionGrad& op, const Shape& s, const TileRows& t, std::int64_t b, std::int64_t h,
                       const Scratch& x, float* dk, float* dv, float* dbias, double* dtau) {
  const std::int64_t ld = s.z.heads * s.z.headDim;
  copyTile(floats(op.in.q) + s.queryAt(b, t.first, h), ld, t.count, s, static_cast<float>(op.in.scale), x.query);
  copyTile(floats(op.dout) + s.queryAt(b, t.first, h), ld, t.count, s, 1.0f, x.dout);
  scoreProducts(s, t, x.query, x.keyColumns, nullptr, x.scores);
  const auto* tops = static_cast<const float*>(op.saved) + s.statisticAt(b, h, t.first);
  const float* inverses = tops + s.z.batch * s.z.heads * s.z.queryLength;
  float offsets[queryRows], limits[queryRows];
  for (std::int64_t r = 0; r < t.count; ++r) {
    const std::int64_t count = t.end(r) - t.begin(r);
    if (op.in.bias) addBias(x.scores + r * s.stride + t.begin(r), count, x.bias, s.z.window);
    offsets[r] = op.in.tau ? floats(op.in.tau)[h] * (1.0f / static_cast<float>(count)) : 0.0f;
    limits[r] = inactiveUpTo(tops[r], inverses[r], offsets[r]);
    findActive(s, t, r, x.scores, limits, x.active);
  }
  scoreProducts(s, t, x.dout, x.valueColumns, &x.active, x.gradients);
  for (std::int64_t r = 0; r < t.count; ++r) {
    const std::int64_t count = t.end(r) - t.begin(r), group = r / tileRows * tileRows;
    float *scores = x.scores + r * s.stride, *gradients = x.gradients + r * s.stride;
    const float active =
        differentiateRow(scores + t.begin(r), gradients + t.begin(r), count, tops[r], inverses[r], offsets[r]);
    *dtau += static_cast<double>(active) * static_cast<double>(1.0f / static_cast<float>(count));
    if (op.dbias) addBiasGradient(gradients + t.begin(r), count, s.z.window, dbias);
    clearAround(scores, t, r, group);
    clearAround(gradients, t, r, group);
  }
  valueProducts(s, t, x.gradients, x.keyRows, nullptr, x.dquery);
  for (std::int64_t r = 0; r < t.count; ++r) {
    float* out = floats(op.dq) + s.queryAt(b, t.first + r, h);
    for (std::int64_t d = 0; d < s.z.headDim; ++d) out[d] = x.dquery[r * s.dim + d] * static_cast<float>(op.in.scale);
  }
  keyProducts(s, t, x.gradients, x.query, nullptr, dk);  // the query tile has the scale in it
  keyProducts(s, t, x.scores, x.dout, &x.active, dv);
}

// dk and dv of (b, kv) = the sum of `parts` accumulators that lie one behind the other.
void writeKeys(const ops::AttentionGrad& op, const Shape& s, std::int64_t b, std::int64_t kv, const float* sums,
               std::int64_t parts) {
  const std::int64_t size = s.z.keyLength * s.dim;
  for (std::int64_t j = 0; j < s.z.keyLength; ++j) {
    float *dk = floats(op.dk) + s.keyAt(b, j, kv), *dv = floats(op.dv) + s.keyAt(b, j, kv);
    const float* from = sums + j * s.dim;
    std::copy_n(from, s.z.headDim, dk);
    std::copy_n(from + size, s.z.headDim, dv);
    for (std::int64_t part = 1; part < parts; ++part) {
      const float* more = from + part * 2 * size;
      for (std::int64_t d = 0; d < s.z.headDim; ++d) {
        dk[d] += more[d];
        dv[d] += more[size + d];
      }
    }
  }
}

void writeBias(const ops::AttentionGrad& op, const Shape& s, const Plan& plan, const Workspace& w) {
  const std::int64_t width = s.z.window + 16;
  for (std::int64_t h = 0; h < s.z.heads; ++h) {
    const auto sum = [&](const auto& value) {
      double total = 0;
      for (std::int64_t b = 0; b < s.z.batch; ++b)
        for (std::int64_t split = 0; split < plan.splits; ++split)
          total += value(((b * s.z.kvHeads + h / s.group) * plan.splits + split) * s.group + h % s.group);
      return static_cast<float>(total);
    };
    if (op.dtau) floats(op.dtau)[h] = sum([&](std::int64_t i) { return w.dtau[i]; });
    if (!op.dbias) continue;
    for (std::int64_t d = 0; d < s.z.window; ++d) {
      floats(op.dbias)[h * s.z.window + d] =
          sum([&](std::int64_t i) { return static_cast<double>(w.dbias[i * width + s.z.window - 1 - d]); });
    }
  }
}

}  // namespace

std::size_t attentionGradWorkspace(const ops::AttentionInputs& in, int threads) {
  const Shape s(in.sizes);
  return Workspace::bytes(s, Plan(s, threads));
}

void attentionGrad(const ops::AttentionGrad& op, Runtime& runtime, void* memory) {
  const Shape s(op.in.sizes);
  const Plan plan(s, runtime.pool.threads());
  const Workspace w(s, plan, static_cast<float*>(memory));
  runtime.pool.run(plan.tasks, [&](std::int64_t item, int thread) {
    const std::int64_t split = item % plan.splits, kv = item / plan.splits % s.z.kvHeads;
    const std::int64_t b = item / plan.splits / s.z.kvHeads, ld = s.z.kvHeads * s.z.headDim;
    const Scratch x(s, w.scratch + static_cast<std::size_t>(thread) * Scratch::floats(s));
    packColumns(floats(op.in.k) + s.keyAt(b, 0, kv), ld, s.z.headDim, s.z.keyLength, x.keyColumns);
    packRows(floats(op.in.k) + s.keyAt(b, 0, kv), ld, s.z.keyLength, s.z.headDim, x.keyRows);
    packColumns(floats(op.in.v) + s.keyAt(b, 0, kv), ld, s.z.headDim, s.z.keyLength, x.valueColumns);
    float* dk = w.sums + static_cast<std::size_t>(plan.splits > 1 ? item : thread) * Workspace::sumFloats(s);
    float* dv = dk + s.z.keyLength * s.dim;
    std::fill_n(dk, Workspace::sumFloats(s), 0.0f);
    float* dbias = w.dbias + static_cast<std::size_t>(item) * Workspace::biasFloats(s);
    std::fill_n(dbias, Workspace::biasFloats(s), 0.0f);
    for (std::int64_t g = 0; g < s.group; ++g, dbias += s.z.window + 16) {
      const std::int64_t h = kv * s.group + g;
      double* dtau = w.dtau + item * s.group + g;
      *dtau = 0;
      if (op.in.bias) reverseBias(floats(op.in.bias) + h * s.z.window, s.z.window, x.bias);
      for (std::int64_t tile = split; tile < s.tiles; tile += plan.splits)
        differentiateTile(op, s, TileRows(s, op.in.starts, b, tile), b, h, x, dk, dv, dbias, dtau);
    }
    if (plan.splits == 1) writeKeys(op, s, b, kv, dk, 1);
  });
  if (plan.splits > 1) {
    runtime.pool.run(s.z.batch * s.z.kvHeads, [&](std::int64_t unit, int) {
      writeKeys(op, s, unit / s.z.kvHeads, unit % s.z.kvHeads,
                w.sums + static_cast<std::size_t>(unit * plan.splits) * Workspace::sumFloats(s), plan.splits);
    });
  }
  writeBias(op, s, plan, w);
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
