// Lazy Attention forward (spec §Forward), and the dense weights for looking at.
//
// Task: one (batch, kv head), or a share of its query tiles when there are too few of those to go round. It packs its
// keys and values once (attention_tile.h) and serves all query heads of the group from them, so grouped queries copy no
// keys. Kept for the backward pass: the maximum and the inverse sum of each row. Both, not their combination lse, since
// exp(s - lse) loses digits where scores are large.
#include <algorithm>

#include "attention_tile.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

struct Scratch {  // of one thread
  float *keys, *values, *strip, *query, *out, *bias;
  ActiveChunks active;

  static std::size_t floats(const Shape& s) {
    return static_cast<std::size_t>(roundUp(s.keys * s.z.headDim + s.dim * s.z.keyLength + s.tileHeight * s.stride +
                                                2 * s.tileHeight * s.dim + s.reversedBias() +
                                                ActiveChunks::floats(s.keys),
                                            16));
  }
  Scratch(const Shape& s, float* memory)
      : keys(memory),
        values(keys + s.keys * s.z.headDim),
        strip(values + s.dim * s.z.keyLength),
        query(strip + s.tileHeight * s.stride),
        out(query + s.tileHeight * s.dim),
        bias(out + s.tileHeight * s.dim),
        active(bias + s.reversedBias()) {}
};

std::int64_t splitsOf(const Shape& s, int threads) {
  const std::int64_t units = s.z.batch * s.z.kvHeads;
  return std::clamp<std::int64_t>((4 * threads + units - 1) / units, 1, threads == 1 ? 1 : s.tiles);
}

// Calls visit(b, h, rows, scratch) for every query tile, with the raw scores of its rows in the strip.
template <class Visit>
void forTiles(const ops::AttentionInputs& in, const Shape& s, Runtime& runtime, float* workspace, const Visit& visit) {
  const std::int64_t splits = splitsOf(s, runtime.pool.threads());
  runtime.pool.run(s.z.batch * s.z.kvHeads * splits, [&](std::int64_t item, int thread) {
    const std::int64_t split = item % splits, kv = item / splits % s.z.kvHeads, b = item / splits / s.z.kvHeads;
    const Scratch scratch(s, workspace + static_cast<std::size_t>(thread) * Scratch::floats(s));
    const std::int64_t ld = s.z.kvHeads * s.z.headDim;
    packColumns(floats(in.k) + s.keyAt(b, 0, kv), ld, s.z.headDim, s.z.keyLength, scratch.keys);
    if (in.v) packRows(floats(in.v) + s.keyAt(b, 0, kv), ld, s.z.keyLength, s.z.headDim, scratch.values);
    for (std::int64_t h = kv * s.group; h < (kv + 1) * s.group; ++h) {
      if (in.bias) reverseBias(floats(in.bias) + h * s.z.window, s.z.window, scratch.bias);
      for (std::int64_t tile = split; tile < s.tiles; tile += splits) {
        const TileRows t(s, in.starts, b, tile);
        copyTile(floats(in.q) + s.queryAt(b, t.first, h), s.z.heads * s.z.headDim, t.count, s,
                 static_cast<float>(in.scale), scratch.query);
        scoreProducts(s, t, scratch.query, scratch.keys, nullptr, scratch.strip);
        visit(b, h, t, scratch);
      }
    }
  });
}

}  // namespace

std::size_t attentionWorkspace(const ops::AttentionInputs& in, int threads) {
  const std::size_t tiles = static_cast<std::size_t>(threads) * Scratch::floats(Shape(in.sizes));
  return std::max(tiles, decodes(in.sizes, false) ? decodeFloats(in) : 0) * sizeof(float);
}

void attention(const ops::Attention& op, Runtime& runtime, void* scratchMemory) {
  auto* const workspace = static_cast<float*>(scratchMemory);
  if (decodes(op.in.sizes, op.saved != nullptr)) return attentionDecode(op, runtime, workspace);
  const Shape s(op.in.sizes);
  auto* tops = static_cast<float*>(op.saved);
  float* inverses = tops == nullptr ? nullptr : tops + s.z.batch * s.z.heads * s.z.queryLength;
  forTiles(op.in, s, runtime, workspace,
           [&](std::int64_t b, std::int64_t h, const TileRows& t, const Scratch& scratch) {
             stripWeights(s, t, op.in.bias ? scratch.bias : nullptr, op.in.tau ? floats(op.in.tau) + h : nullptr,
                          scratch.active, scratch.strip, [&](std::int64_t r, float top, float inverse) {
                            if (tops == nullptr) return;
                            tops[s.statisticAt(b, h, t.first + r)] = top;
                            inverses[s.statisticAt(b, h, t.first + r)] = inverse;
                          });
             valueProducts(s, t, scratch.strip, scratch.values, &scratch.active, scratch.out);
             for (std::int64_t r = 0; r < t.count; ++r)
               std::copy_n(scratch.out + r * s.dim, s.z.headDim, floats(op.out) + s.queryAt(b, t.first + r, h));
           });
}

void attentionWeights(const ops::AttentionWeights& op, Runtime& runtime, void* workspace) {
  const Shape s(op.in.sizes);
  forTiles(op.in, s, runtime, static_cast<float*>(workspace),
           [&](std::int64_t b, std::int64_t h, const TileRows& t, const Scratch& scratch) {
             stripWeights(s, t, op.in.bias ? scratch.bias : nullptr, op.in.tau ? floats(op.in.tau) + h : nullptr,
                          scratch.active, scratch.strip, [](std::int64_t, float, float) {});
             for (std::int64_t r = 0; r < t.count; ++r) {
               float* row = floats(op.out) + s.statisticAt(b, h, t.first + r) * s.z.keyLength;
               std::fill(row, row + s.z.keyLength, 0.0f);
               std::copy(scratch.strip + r * s.stride + t.begin(r), scratch.strip + r * s.stride + t.end(r),
                         row + t.begin(r));
             }
           });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
