// Lazy Attention forward (spec §Forward) of bf16 on tiles: attention_brain.h.
//
// Task: one (batch, kv head), or a share of its blocks of rows. It packs its keys and values once and serves all query heads of the
// group from them. A block's whole rows of scores stay in the core's cache in f32; weights go to bf16 straight into the panel that the
// product with the values reads. Plain softmax has its weights divided by their sum after that product, so it needs no third
// pass over its rows. Steps of keys whose weights are all zero are left out. Measurements: docs/kernels/cpu.md.
#include "attention_brain.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

struct Scratch {  // of one thread
  std::uint16_t *keys, *values, *query, *weights;
  float *strip, *out, *bias;

  static std::int64_t keyHalves(const BrainLayout& x) { return x.keySteps * x.dimSteps * panelHalves; }
  static std::size_t floats(const BrainLayout& x) {
    const std::int64_t halves = 2 * keyHalves(x) + (x.dimSteps + x.keySteps) * panelHalves;
    return static_cast<std::size_t>(roundUp(halves / 2 + rowBlock * (x.stride + x.dim) + x.paddedBias(), 16));
  }
  Scratch(const BrainLayout& x, float* memory)
      : keys(reinterpret_cast<std::uint16_t*>(memory)),
        values(keys + keyHalves(x)),
        query(values + keyHalves(x)),
        weights(query + x.dimSteps * panelHalves),
        strip(reinterpret_cast<float*>(weights + x.keySteps * panelHalves)),
        out(strip + rowBlock * x.stride),
        bias(out + rowBlock * x.dim) {}
};

// Scores to weights in `x.weights`, row by row, whose steps begin at the block's first; factors[r] is what the products with them are
// to be multiplied by. `keep` gets (r, top, inverse sum).
template <class Keep>
LAZY_INLINE void blockWeights(const BrainLayout& layout, const RowBlock& t, const HeadInputs& head, Vector scale,
                              const Scratch& x, float* factors, const Keep& keep) {
  for (std::int64_t r = 0; r < t.count; ++r) {
    const std::int64_t begin = t.begin(r), end = t.end(r);
    const ScoreRow row{x.strip + r * layout.stride, begin, end, scale};
    const PanelRow to(x.weights, r, t.firstStep);
    const float top = head.top(row.finish(head.bias, layout.sizes.window));
    float sum;
    if (head.tau == nullptr) {
      sum = row.exponentials(top, [&](std::int64_t j, Vector e) { to.put(j, e); }) + head.beside(top);
      factors[r] = 1.0f / sum;
    } else {
      sum = row.exponentials(top, [&](std::int64_t j, Vector e) { store(row.line + j, e); }) + head.beside(top);
      const Vector f = splat(1.0f / sum), o = splat(*head.tau / static_cast<float>(end - begin));
      forKeyVectors(begin, end, [&](std::int64_t j, auto masked) {
        const Vector w = load(row.line + j) * f + o;
        // NaN stays NaN.
        to.put(j, onKeys(masked, j, begin, end, w < Vector{} ? Vector{} : w, Vector{}));
      });
      factors[r] = 1.0f;
    }
    to.clear(t.firstStep * keyStep, begin / lanes * lanes);
    to.clear(roundUp(end, lanes), t.lastStep * keyStep);
    keep(r, top, 1.0f / sum);
  }
}

// x.out = weights times values, over the steps that hold a weight.
void blockValues(const BrainLayout& layout, const RowBlock& t, MultiplyTiles multiply, const Scratch& x) {
  bool fresh = true;
  for (std::int64_t from = t.firstStep; from < t.lastStep;) {
    const auto weights = [&](std::int64_t step) { return x.weights + (step - t.firstStep) * panelHalves; };
    if (!holdsWeight(weights(from), t.count)) {
      ++from;
      continue;
    }
    std::int64_t to = from + 1;
    while (to < t.lastStep && holdsWeight(weights(to), t.count)) ++to;
    for (std::int64_t d = 0; d < layout.dimSteps; ++d) {
      multiply(weights(from), x.values + (d * layout.keySteps + from) * panelHalves, to - from, x.out + d * blockSide,
               layout.dim, fresh);
    }
    fresh = false;
    from = to;
  }
  if (fresh) std::fill_n(x.out, rowBlock * layout.dim, 0.0f);
}

}  // namespace

std::size_t attentionBrainFloats(const ops::AttentionInputs& in, int threads) {
  return static_cast<std::size_t>(threads) * Scratch::floats(BrainLayout(in.sizes));
}

void attentionBrain(const ops::Attention& op, Runtime& runtime, float* workspace) {
  const BrainLayout layout(op.in.sizes);
  const ops::AttentionSizes& sizes = layout.sizes;
  const MultiplyTiles multiply = multiplyTiles(runtime.machine.unit);
  const int threads = runtime.pool.threads();
  const std::int64_t units = sizes.batch * sizes.kvHeads;
  const std::int64_t splits =
      std::clamp<std::int64_t>((4 * threads + units - 1) / units, 1, threads == 1 ? 1 : layout.blocks);
  auto* tops = static_cast<float*>(op.saved);
  float* inverses = tops == nullptr ? nullptr : tops + sizes.batch * sizes.heads * sizes.queryLength;
  const Vector scale = splat(static_cast<float>(op.in.scale));
  runtime.pool.run(units * splits, [&](std::int64_t item, int thread) {
    const std::int64_t split = item % splits, kv = item / splits % sizes.kvHeads, b = item / splits / sizes.kvHeads;
    const Scratch x(layout, workspace + static_cast<std::size_t>(thread) * Scratch::floats(layout));
    const TileScope scope(runtime.machine.unit);
    const std::int64_t ld = sizes.kvHeads * sizes.headDim, at = layout.keyAt(b, kv);
    packAll(byRow(halvesAt(op.in.k, at), ld, sizes.keyLength, true), sizes.headDim, x.keys);
    packAll(byDimension(halvesAt(op.in.v, at), ld, sizes.headDim, true), sizes.keyLength, x.values);
    for (std::int64_t h = kv * layout.group; h < (kv + 1) * layout.group; ++h) {
      if (op.in.bias) padBias(floats(op.in.bias) + h * sizes.window, sizes.window, layout.paddedBias(), x.bias);
      const HeadInputs head(op.in, h, x.bias);
      for (std::int64_t block = split; block < layout.blocks; block += splits) {
        const RowBlock t(layout, op.in.starts, b, block);
        packAll(byRow(halvesAt(op.in.q, layout.queryAt(b, t.first, h)), sizes.heads * sizes.headDim, t.count, false),
                sizes.headDim, x.query);
        for (std::int64_t step = t.firstStep; step < t.lastStep; ++step)
          multiply(x.query, x.keys + step * layout.dimSteps * panelHalves, layout.dimSteps, x.strip + step * keyStep,
                   layout.stride, true);
        float factors[rowBlock];
        blockWeights(layout, t, head, scale, x, factors, [&](std::int64_t r, float top, float inverse) {
          if (tops == nullptr) return;
          tops[layout.statisticAt(b, h, t.first + r)] = top;
          inverses[layout.statisticAt(b, h, t.first + r)] = inverse;
        });
        blockValues(layout, t, multiply, x);
        for (std::int64_t r = 0; r < t.count; ++r)
          writeRow(x.out + r * layout.dim, factors[r], sizes.headDim,
                   elements<Brain>(op.out) + layout.queryAt(b, t.first + r, h));
      }
    }
  });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
