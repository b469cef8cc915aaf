// Lazy Attention forward (spec §Forward), and the dense weights for looking at.
//
// Task: one (batch, kv head), or a share of its query tiles when there are too few of those to go round. It packs its
// keys and values once (attention_tile.h) and serves all query heads of the group from them, so grouped queries copy no
// keys. Kept for the backward pass: the maximum and the inverse sum of each row. Both, not their combination lse, since
// exp(s - lse) loses digits where scores are large.
#include <algorithm>

#include "attention_tile.h"
#include "brain.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

struct Scratch {  // of one thread
  float *keys, *values, *strip, *query, *out, *bias;
  ActiveChunks active;

  static std::size_t floats(const Layout& layout) {
    return static_cast<std::size_t>(roundUp(layout.keys * layout.sizes.headDim + layout.dim * layout.sizes.keyLength +
                                                layout.tileHeight * layout.stride + 2 * layout.tileHeight * layout.dim +
                                                layout.reversedBias() + ActiveChunks::floats(layout.keys),
                                            16));
  }
  Scratch(const Layout& layout, float* memory)
      : keys(memory),
        values(keys + layout.keys * layout.sizes.headDim),
        strip(values + layout.dim * layout.sizes.keyLength),
        query(strip + layout.tileHeight * layout.stride),
        out(query + layout.tileHeight * layout.dim),
        bias(out + layout.tileHeight * layout.dim),
        active(bias + layout.reversedBias()) {}
};

std::int64_t splitsOf(const Layout& layout, int threads) {
  const std::int64_t units = layout.sizes.batch * layout.sizes.kvHeads;
  return std::clamp<std::int64_t>((4 * threads + units - 1) / units, 1, threads == 1 ? 1 : layout.tiles);
}

// Calls visit(b, h, rows, scratch) for every query tile, with the raw scores of its rows in the strip.
template <class Visit>
void forTiles(const ops::AttentionInputs& in, const Layout& layout, Runtime& runtime, float* workspace,
              const Visit& visit) {
  const std::int64_t splits = splitsOf(layout, runtime.pool.threads());
  runtime.pool.run(layout.sizes.batch * layout.sizes.kvHeads * splits, [&](std::int64_t item, int thread) {
    const std::int64_t split = item % splits, kv = item / splits % layout.sizes.kvHeads,
                       b = item / splits / layout.sizes.kvHeads;
    const Scratch scratch(layout, workspace + static_cast<std::size_t>(thread) * Scratch::floats(layout));
    const std::int64_t ld = layout.sizes.kvHeads * layout.sizes.headDim;
    packColumns(floats(in.k) + layout.keyAt(b, 0, kv), ld, layout.sizes.headDim, layout.sizes.keyLength, scratch.keys);
    if (in.v)
      packRows(floats(in.v) + layout.keyAt(b, 0, kv), ld, layout.sizes.keyLength, layout.sizes.headDim, scratch.values);
    for (std::int64_t h = kv * layout.group; h < (kv + 1) * layout.group; ++h) {
      if (in.bias) reverseBias(floats(in.bias) + h * layout.sizes.window, layout.sizes.window, scratch.bias);
      for (std::int64_t tile = split; tile < layout.tiles; tile += splits) {
        const TileRows t(layout, in.starts, b, tile);
        copyTile(floats(in.q) + layout.queryAt(b, t.first, h), layout.sizes.heads * layout.sizes.headDim, t.count,
                 layout, static_cast<float>(in.scale), scratch.query);
        scoreProducts(layout, t, scratch.query, scratch.keys, nullptr, scratch.strip);
        visit(b, h, t, scratch);
      }
    }
  });
}

}  // namespace

std::size_t attentionWorkspace(const ops::AttentionInputs& in, const Machine& machine) {
  const std::size_t wanted = isBrain(in.q)
                                 ? attentionBrainFloats(in, machine.threads)
                                 : static_cast<std::size_t>(machine.threads) * Scratch::floats(Layout(in.sizes));
  return wanted * sizeof(float);
}

void attention(const ops::Attention& op, Runtime& runtime, void* scratchMemory) {
  auto* const workspace = static_cast<float*>(scratchMemory);
  if (decodes(op.in.sizes, op.saved != nullptr)) return attentionDecode(op, runtime, workspace);
  if (isBrain(op.in.q)) return attentionBrain(op, runtime, workspace);
  const Layout layout(op.in.sizes);
  auto* tops = static_cast<float*>(op.saved);
  float* inverses =
      tops == nullptr ? nullptr : tops + layout.sizes.batch * layout.sizes.heads * layout.sizes.queryLength;
  forTiles(op.in, layout, runtime, workspace,
           [&](std::int64_t b, std::int64_t h, const TileRows& t, const Scratch& scratch) {
             stripWeights(layout, t, HeadInputs(op.in, h, scratch.bias), scratch.active, scratch.strip,
                          [&](std::int64_t r, float top, float inverse) {
                            if (tops == nullptr) return;
                            tops[layout.statisticAt(b, h, t.first + r)] = top;
                            inverses[layout.statisticAt(b, h, t.first + r)] = inverse;
                          });
             valueProducts(layout, t, scratch.strip, scratch.values, &scratch.active, scratch.out);
             for (std::int64_t r = 0; r < t.count; ++r)
               std::copy_n(scratch.out + r * layout.dim, layout.sizes.headDim,
                           floats(op.out) + layout.queryAt(b, t.first + r, h));
           });
}

void attentionWeights(const ops::AttentionWeights& op, Runtime& runtime, void* workspace) {
  const Layout layout(op.in.sizes);
  forTiles(op.in, layout, runtime, static_cast<float*>(workspace),
           [&](std::int64_t b, std::int64_t h, const TileRows& t, const Scratch& scratch) {
             stripWeights(layout, t, HeadInputs(op.in, h, scratch.bias), scratch.active, scratch.strip,
                          [](std::int64_t, float, float) {});
             for (std::int64_t r = 0; r < t.count; ++r) {
               float* row = floats(op.out) + layout.statisticAt(b, h, t.first + r) * layout.sizes.keyLength;
               std::fill(row, row + layout.sizes.keyLength, 0.0f);
               std::copy(scratch.strip + r * layout.stride + t.begin(r), scratch.strip + r * layout.stride + t.end(r),
                         row + t.begin(r));
             }
           });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
