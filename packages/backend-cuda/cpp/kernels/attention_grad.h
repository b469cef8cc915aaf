// What the backward kernels on tensor cores share: operands that stay in registers where they fit, and the gradient of a
// pair of query and key.
#pragma once

#include "kernels/attention.h"
#include "kernels/tiles.h"

namespace gpu {

// Operand A for all columns, from registers or, each time it is asked for, from shared memory.
template <class T, class Shape>
struct RowOperand {
  Tile<T, Shape::columns> tile;
  int row;
  std::uint32_t fragments[Shape::resident ? Shape::columns / 16 : 1][4];

  __device__ __forceinline__ void load() {
    if constexpr (Shape::resident) {
#pragma unroll
      for (int d = 0; d < Shape::columns / 16; ++d) tile.loadA(fragments[d], row, 16 * d);
    }
  }
  // c (16 x 16) = rows . (16 rows of other, from `otherRow`)^T
  __device__ __forceinline__ void dot(float (&c)[2][4], const Tile<T, Shape::columns>& other, int otherRow) const {
    clear(c);
#pragma unroll
    for (int d = 0; d < Shape::columns / 16; ++d) {
      std::uint32_t b[4];
      other.loadB(b, otherRow, 16 * d);
      if constexpr (Shape::resident) {
        multiplyAdd<T>(c[0], fragments[d], b[0], b[1]);
        multiplyAdd<T>(c[1], fragments[d], b[2], b[3]);
      } else {
        std::uint32_t a[4];
        tile.loadA(a, row, 16 * d);
        multiplyAdd<T>(c[0], a, b[0], b[1]);
        multiplyAdd<T>(c[1], a, b[2], b[3]);
      }
    }
  }
};

// What the gradient needs to know of a query row: its terms, of deltaKernel.
struct QueryRow {
  float lse, delta, offset, start;
};
__device__ __forceinline__ QueryRow queryRow(float4 terms) { return {terms.x, terms.y, terms.z, terms.w}; }

// The first query tile from `from` on, of `tiles` of `step` rows, that begins at key `end` or later. Starts do not decrease.
template <class T>
__device__ __forceinline__ int tileBeyond(const AttentionProblem<T>& p, int b, int step, int from, int tiles, int end) {
  while (from < tiles) {
    const int middle = from + (tiles - from) / 2;
    if (p.start(b, middle * step) < end) {
      from = middle + 1;
    } else {
      tiles = middle;
    }
  }
  return from;
}

// A block's keys, from `first`, and the query tiles that attend them.
struct GradWork {
  int first, b, kvHead, firstTile, tiles, firstHead;
};
// By one thread: the next block of `rows` keys, later keys first, and its query tiles of `step` rows.
template <int rows, int step, class T>
__device__ __forceinline__ GradWork takeWork(const AttentionProblem<T>& p) {
  const int keyBlocks = ceilDiv(p.keys, rows), queryBlocks = ceilDiv(p.length, step), shift = p.keys - p.length;
  const int ticket = takeTicket(p.turns + static_cast<std::int64_t>(p.batch) * p.heads * queryBlocks);
  const int first = (keyBlocks - 1 - ticket % keyBlocks) * rows, b = ticket / keyBlocks / p.kvHeads;
  const int kvHead = ticket / keyBlocks % p.kvHeads;
  // Query tiles that attend these keys: from the first position that reaches them to the last start that does.
  const int firstTile = first - shift > 0 ? (first - shift) / step : 0;
  const int endTile = tileBeyond(p, b, step, firstTile, queryBlocks, first + rows);
  return {first, b, kvHead, firstTile, endTile - firstTile, kvHead * (p.heads / p.kvHeads)};
}

// dq's part of these keys, added to those of the key blocks before.
template <int parts>
__device__ __forceinline__ void addSums(float (&dq)[parts][4], const float4 (&before)[parts]) {
#pragma unroll
  for (int n = 0; n < parts; ++n) {
    dq[n][0] += before[n].x;
    dq[n][1] += before[n].y;
    dq[n][2] += before[n].z;
    dq[n][3] += before[n].w;
  }
}

// s (a raw product) becomes ds, g becomes w. `bias` comes times log2 e. Every query of a plain tile attends every key, without
// a bias.
template <bool plain>
__device__ __forceinline__ void pairGrad(float& s, float& g, const QueryRow& row, float bias, bool attended,
                                         float scale) {
  // Rounded as in the forward pass: fma(s, scale, 0) is the rounded product.
  const float score = plain ? roundedProduct(s, scale) : fmaf(s, scale, bias);
  const float weight = exp2Fast(score - row.lse);  // p_ij
  const bool active = weight + row.offset > 0;
  const float ds = weight * ((active ? g : 0.0f) - row.delta), w = nanMax(weight + row.offset, 0.0f);
  s = plain || attended ? ds : 0.0f;
  g = plain || attended ? w : 0.0f;
}

}  // namespace gpu
