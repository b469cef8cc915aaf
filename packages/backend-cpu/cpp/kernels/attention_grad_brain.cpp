// Lazy Attention backward (spec §Backward) of bf16 on tiles: attention_brain.h. The five products of attention_grad.cpp, per block of 32
// query rows:
//
//   S = Q K'     G = dO V'     p, w, m from S and the kept row statistics;  delta = sum p m g
//   dQ = dS K    dK' += Q' dS    dV' += dO' W
//
// dS and W are rounded to bf16 once, as rows. Pairs of these rows side by side are the right operand of dK' and dV', which therefore
// are summed transposed, [dimension][key], in f32. Steps of keys whose weights are all zero add nothing to dV and are left out.
//
// Task: one (batch, kv head) with all query heads of its group, in order. With too few of them its blocks of rows are dealt out, each share
// sums into its own dK' and dV', and these are added in order: no atomics, every run alike.
#include <cmath>

#include "attention_brain.h"
#include "attention_learned.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

// How the work is cut.
struct Tasks {
  Tasks(const BrainLayout& layout, int threads) : units(layout.sizes.batch * layout.sizes.kvHeads), threads(threads) {
    splits = units >= 2 * threads || threads == 1
                 ? 1
                 : std::min<std::int64_t>(layout.blocks, (2 * threads + units - 1) / units);
  }

  std::int64_t units, splits = 1;
  int threads;

  std::int64_t count() const { return units * splits; }
  // Room for dK' and dV': one per thread, or one per task where tasks are added up.
  std::int64_t accumulators() const { return splits > 1 ? count() : threads; }
};

struct Scratch {                                             // of one thread
  std::uint16_t *keyColumns, *keyRows, *valueColumns;        // K', K and V' as right operands
  std::uint16_t *query, *dout, *queryColumns, *doutColumns;  // Q, dO, Q' and dO' as left ones, of a block
  std::uint16_t *gradients, *weights, *gradientPairs,
      *weightPairs;                       // dS and W of a block; of one step, as right operands
  float *scores, *products, *out, *bias;  // S then p, G then dS, dQ

  static std::int64_t keyHalves(const BrainLayout& x) { return x.keySteps * x.dimSteps * panelHalves; }
  static std::size_t floats(const BrainLayout& x) {
    const std::int64_t halves = 3 * keyHalves(x) + (4 * x.dimSteps + 2 * x.keySteps + 2) * panelHalves;
    return static_cast<std::size_t>(roundUp(halves / 2 + rowBlock * (2 * x.stride + x.dim) + x.paddedBias(), 16));
  }
  Scratch(const BrainLayout& x, float* memory)
      : keyColumns(reinterpret_cast<std::uint16_t*>(memory)),
        keyRows(keyColumns + keyHalves(x)),
        valueColumns(keyRows + keyHalves(x)),
        query(valueColumns + keyHalves(x)),
        dout(query + x.dimSteps * panelHalves),
        queryColumns(dout + x.dimSteps * panelHalves),
        doutColumns(queryColumns + x.dimSteps * panelHalves),
        gradients(doutColumns + x.dimSteps * panelHalves),
        weights(gradients + x.keySteps * panelHalves),
        gradientPairs(weights + x.keySteps * panelHalves),
        weightPairs(gradientPairs + panelHalves),
        scores(reinterpret_cast<float*>(weightPairs + panelHalves)),
        products(scores + rowBlock * x.stride),
        out(products + rowBlock * x.stride),
        bias(out + rowBlock * x.dim) {}
};

// The workspace: scratch of each thread, then sums of dK' and dV', then those of the learned inputs per task and head of the group.
struct Workspace {
  float *scratch, *sums, *dbias;
  HeadSums* heads;

  static std::size_t n(std::int64_t x) { return static_cast<std::size_t>(x); }
  // dK', then dV': [dim][stride] each.
  static std::int64_t halfOfSums(const BrainLayout& x) { return x.dim * x.stride; }
  static std::size_t biasFloats(const BrainLayout& x, const Tasks& tasks) {
    return n(roundUp(tasks.count() * x.group * biasWidth(x.sizes), 16));
  }
  static std::size_t bytes(const BrainLayout& x, const Tasks& tasks) {
    return (n(tasks.threads) * Scratch::floats(x) + n(tasks.accumulators() * 2 * halfOfSums(x)) +
            biasFloats(x, tasks)) *
               sizeof(float) +
           n(tasks.count() * x.group) * sizeof(HeadSums);
  }
  Workspace(const BrainLayout& x, const Tasks& tasks, float* memory) : scratch(memory) {
    sums = scratch + n(tasks.threads) * Scratch::floats(x);
    dbias = sums + tasks.accumulators() * 2 * halfOfSums(x);
    heads = reinterpret_cast<HeadSums*>(dbias + biasFloats(x, tasks));
  }
};

struct RowSums {
  float active;  // sum of m g: the row's share of dtau, times n
  float delta;
};

// One row: `scores` of ScoreRow::finish become p, `products` (G) become dS; dS and w go to their panels, rounded.
LAZY_INLINE RowSums differentiateRow(const ScoreRow& row, float* products, float top, float inverse, float offset,
                                     const PanelRow& gradients, const PanelRow& weights) {
  const Vector shift = splat(top), f = splat(inverse), o = splat(offset), zero = {};
  Vector delta = {}, active = {};
  forKeyVectors(row.begin, row.end, [&](std::int64_t j, auto masked) {
    const auto own = [&](Vector v) { return onKeys(masked, j, row.begin, row.end, v, Vector{}); };
    const Vector p = own(exponentialOfNegative(load(row.line + j) - shift) * f);
    const Vector mg = p + o > zero ? own(load(products + j)) : zero;
    delta += p * mg;
    active += mg;
    store(row.line + j, p);
    store(products + j, mg);
  });
  const float sum = sumOf(delta);
  const Vector total = splat(sum);
  forKeyVectors(row.begin, row.end, [&](std::int64_t j, auto masked) {
    const Vector p = load(row.line + j), w = p + o;
    const Vector ds = p * (load(products + j) - total);
    store(products + j, ds);
    gradients.put(j, onKeys(masked, j, row.begin, row.end, ds, Vector{}));
    weights.put(j, onKeys(masked, j, row.begin, row.end, w < zero ? zero : w, Vector{}));
  });
  return {sumOf(active), sum};
}

void differentiateRows(const ops::AttentionGrad& op, const BrainLayout& layout, const RowBlock& t, std::int64_t b,
                       std::int64_t h, const Scratch& x, float* dbias, HeadSums& total) {
  const HeadInputs head(op.in, h, x.bias);
  const auto* tops = static_cast<const float*>(op.saved) + layout.statisticAt(b, h, t.first);
  const float* inverses = tops + layout.sizes.batch * layout.sizes.heads * layout.sizes.queryLength;
  const Vector scale = splat(static_cast<float>(op.in.scale));
  for (std::int64_t r = 0; r < rowBlock; ++r) {
    const PanelRow gradients(x.gradients, r, t.firstStep), weights(x.weights, r, t.firstStep);
    const auto clear = [&](std::int64_t from, std::int64_t to) {
      gradients.clear(from, to);
      weights.clear(from, to);
    };
    const std::int64_t first = t.firstStep * keyStep, last = t.lastStep * keyStep;
    if (r >= t.count) {
      clear(first, last);
      continue;
    }
    const std::int64_t begin = t.begin(r), end = t.end(r), count = end - begin;
    const ScoreRow row{x.scores + r * layout.stride, begin, end, scale};
    float* products = x.products + r * layout.stride;
    const float offset = head.tau == nullptr ? 0.0f : *head.tau * (1.0f / static_cast<float>(count));
    row.finish(head.bias, layout.sizes.window);
    const RowSums sums = differentiateRow(row, products, tops[r], inverses[r], offset, gradients, weights);
    clear(first, begin / lanes * lanes);
    clear(roundUp(end, lanes), last);
    total.tau += static_cast<double>(sums.active) * static_cast<double>(1.0f / static_cast<float>(count));
    total.sink -= static_cast<double>(head.beside(tops[r]) * inverses[r] * sums.delta);
    if (head.bias != nullptr) addBiasGradient(products + begin, count, layout.sizes.window, dbias);
  }
}

// Rows of a step of a panel, two by two, as the right operand of a product over these rows.
void packRowPairs(const std::uint16_t* step, std::uint16_t* to) {
  for (int half = 0; half < 2; ++half)
    packPairs({step + half * tileSide, 1, tileDepth, tileSide, true},
              reinterpret_cast<std::uint32_t*>(to + half * tileHalves));
}

void differentiateBlock(const ops::AttentionGrad& op, const BrainLayout& layout, const RowBlock& t, std::int64_t b,
                        std::int64_t h, MultiplyTiles multiply, const Scratch& x, float* dk, float* dv, float* dbias,
                        HeadSums& total) {
  const ops::AttentionSizes& sizes = layout.sizes;
  const std::int64_t ld = sizes.heads * sizes.headDim, at = layout.queryAt(b, t.first, h), steps = layout.dimSteps;
  packAll(byRow(halvesAt(op.in.q, at), ld, t.count, false), sizes.headDim, x.query);
  packAll(byRow(halvesAt(op.dout, at), ld, t.count, false), sizes.headDim, x.dout);
  packAll(byDimension(halvesAt(op.in.q, at), ld, sizes.headDim, false), t.count, x.queryColumns);
  packAll(byDimension(halvesAt(op.dout, at), ld, sizes.headDim, false), t.count, x.doutColumns);
  for (std::int64_t step = t.firstStep; step < t.lastStep; ++step) {
    const std::int64_t panel = step * steps * panelHalves, key = step * keyStep;
    multiply(x.query, x.keyColumns + panel, steps, x.scores + key, layout.stride, true);
    multiply(x.dout, x.valueColumns + panel, steps, x.products + key, layout.stride, true);
  }
  differentiateRows(op, layout, t, b, h, x, dbias, total);
  for (std::int64_t d = 0; d < steps; ++d)
    multiply(x.gradients, x.keyRows + (d * layout.keySteps + t.firstStep) * panelHalves, t.lastStep - t.firstStep,
             x.out + d * blockSide, layout.dim, true);
  for (std::int64_t r = 0; r < t.count; ++r)
    writeRow(x.out + r * layout.dim, static_cast<float>(op.in.scale), sizes.headDim,
             elements<Brain>(op.dq) + layout.queryAt(b, t.first + r, h));
  for (std::int64_t step = t.firstStep; step < t.lastStep; ++step) {
    const std::int64_t panel = (step - t.firstStep) * panelHalves, key = step * keyStep;
    const bool weighs = holdsWeight(x.weights + panel, t.count);
    packRowPairs(x.gradients + panel, x.gradientPairs);
    if (weighs) packRowPairs(x.weights + panel, x.weightPairs);
    for (std::int64_t d = 0; d < steps; ++d) {
      const std::int64_t to = d * blockSide * layout.stride + key;
      multiply(x.queryColumns + d * panelHalves, x.gradientPairs, 1, dk + to, layout.stride, false);
      if (weighs) multiply(x.doutColumns + d * panelHalves, x.weightPairs, 1, dv + to, layout.stride, false);
    }
  }
}

// Rows of `out` from sums [dim][stride] times `factor`, of which `parts` lie `apart` and are added in order.
void writeTransposed(const BrainLayout& layout, float* sums, std::int64_t parts, std::int64_t apart, float factor,
                     Brain* out) {
  const ops::AttentionSizes& sizes = layout.sizes;
  for (std::int64_t part = 1; part < parts; ++part) {
    const float* more = sums + part * apart;
    for (std::int64_t i = 0; i < layout.dim * layout.stride; i += lanes)
      store(sums + i, load(sums + i) + load(more + i));
  }
  const std::int64_t ld = sizes.kvHeads * sizes.headDim;
  float rows[4 * 256];  // four keys
  for (std::int64_t key = 0; key < sizes.keyLength; key += 4) {
    for (std::int64_t d = 0; d < sizes.headDim; d += 4)
      transposeFour(sums + d * layout.stride + key, layout.stride, rows + d, 256);
    for (std::int64_t j = key; j < std::min(key + 4, sizes.keyLength); ++j)
      writeRow(rows + (j - key) * 256, factor, sizes.headDim, out + j * ld);
  }
}

}  // namespace

std::size_t attentionGradBrainBytes(const ops::AttentionInputs& in, int threads) {
  const BrainLayout layout(in.sizes);
  return Workspace::bytes(layout, Tasks(layout, threads));
}

void attentionGradBrain(const ops::AttentionGrad& op, Runtime& runtime, float* memory) {
  const BrainLayout layout(op.in.sizes);
  const ops::AttentionSizes& sizes = layout.sizes;
  const Tasks tasks(layout, runtime.pool.threads());
  const Workspace w(layout, tasks, memory);
  const MultiplyTiles multiply = multiplyTiles(runtime.machine.unit);
  const std::int64_t half = Workspace::halfOfSums(layout);
  const auto writeKeys = [&](std::int64_t unit, float* sums, std::int64_t parts) {
    const std::int64_t at = layout.keyAt(unit / sizes.kvHeads, unit % sizes.kvHeads);
    writeTransposed(layout, sums, parts, 2 * half, static_cast<float>(op.in.scale), elements<Brain>(op.dk) + at);
    writeTransposed(layout, sums + half, parts, 2 * half, 1.0f, elements<Brain>(op.dv) + at);
  };
  runtime.pool.run(tasks.count(), [&](std::int64_t item, int thread) {
    const std::int64_t split = item % tasks.splits, unit = item / tasks.splits;
    const std::int64_t kv = unit % sizes.kvHeads, b = unit / sizes.kvHeads, ld = sizes.kvHeads * sizes.headDim;
    const Scratch x(layout, w.scratch + static_cast<std::size_t>(thread) * Scratch::floats(layout));
    const TileScope scope(runtime.machine.unit);
    const std::int64_t at = layout.keyAt(b, kv);
    packAll(byRow(halvesAt(op.in.k, at), ld, sizes.keyLength, true), sizes.headDim, x.keyColumns);
    packAll(byDimension(halvesAt(op.in.k, at), ld, sizes.headDim, true), sizes.keyLength, x.keyRows);
    packAll(byRow(halvesAt(op.in.v, at), ld, sizes.keyLength, true), sizes.headDim, x.valueColumns);
    float* dk = w.sums + (tasks.splits > 1 ? item : thread) * 2 * half;
    std::fill_n(dk, 2 * half, 0.0f);
    float* dbias = w.dbias + item * layout.group * biasWidth(sizes);
    std::fill_n(dbias, layout.group * biasWidth(sizes), 0.0f);
    for (std::int64_t g = 0; g < layout.group; ++g, dbias += biasWidth(sizes)) {
      const std::int64_t h = kv * layout.group + g;
      HeadSums& total = w.heads[item * layout.group + g];
      total = {};
      if (op.in.bias) padBias(floats(op.in.bias) + h * sizes.window, sizes.window, layout.paddedBias(), x.bias);
      for (std::int64_t block = split; block < layout.blocks; block += tasks.splits)
        differentiateBlock(op, layout, RowBlock(layout, op.in.starts, b, block), b, h, multiply, x, dk, dk + half,
                           dbias, total);
    }
    if (tasks.splits == 1) writeKeys(unit, dk, 1);
  });
  if (tasks.splits > 1) {
    runtime.pool.run(tasks.units, [&](std::int64_t unit, int) {
      writeKeys(unit, w.sums + unit * tasks.splits * 2 * half, tasks.splits);
    });
  }
  writeLearned(op, tasks.splits, w.heads, w.dbias);
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
