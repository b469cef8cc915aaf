// Products of bf16 tiles with sums in f32, on what the processor has for them (brain_tiles.cpp). A tile is 1 KiB:
// of A: [16 rows][32 of k];  of B: [16 pairs of k][16 columns][2], as AMX wants it.
#pragma once

#include "brain.h"

namespace lazy_cpu {
namespace LAZY_ISA {

inline constexpr std::int64_t tileSide = 16, tileDepth = 32, tileHalves = tileSide * tileDepth;
// Of C at a time: two tiles of A by two of B.
inline constexpr std::int64_t blockSide = 2 * tileSide, blockSums = blockSide * blockSide;
// A panel is two tiles beside each other, step after step of tileDepth: [steps][2][tile].
inline constexpr std::int64_t panelHalves = 2 * tileHalves;

// c [32][32], rows `ld` apart, (+)= panel of A times panel of B over `steps`; `fresh` begins at zero.
using MultiplyTiles = void (*)(const std::uint16_t* a, const std::uint16_t* b, std::int64_t steps, float* c,
                               std::int64_t ld, bool fresh);
MultiplyTiles multiplyTiles(BrainUnit);

// Around a thread's products: what the unit has to be told (AMX's tile sizes).
class TileScope {
 public:
  explicit TileScope(BrainUnit);
  ~TileScope();
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;

 private:
  const BrainUnit unit_;
};

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
