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
  __device__ __forceinline__ void dot(float (&c)[2][4], const Tile<T, Shape::columns>& other, int otherRow,
                                      int lane) const {
    clear(c);
#pragma unroll
    for (int d = 0; d < Shape::columns / 16; ++d) {
      std::uint32_t b[4];
      other.loadB(b, otherRow, 16 * d, lane);
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

// Which query tile of which head of the group a step takes: the tiles of a head, then those of the next.
struct GradPlace {
  int head = 0, tile = 0;

  __device__ __forceinline__ void next(const GradWork& work) {
    tile += 1;
    if (tile < work.tiles) return;
    tile = 0;
    head += 1;
  }
  __device__ __forceinline__ int tileOf(const GradWork& work) const { return work.firstTile + tile; }
  __device__ __forceinline__ int headOf(const GradWork& work) const { return work.firstHead + head; }
};

// A turn at the sums of dq of a query tile of `step` rows: the t-th is that of the t-th key block before the tile's diagonal.
template <int step>
struct GradTurn {
  int at, order;
  bool last;

  // `start`: of the tile's first query.
  template <class T>
  __device__ __forceinline__ GradTurn(const AttentionProblem<T>& p, const GradWork& work, int h, int tile, int start)
      : last(start >= work.first) {
    const int beyond = (tile + 1) * step < p.length ? (tile + 1) * step : p.length;
    at = (work.b * p.heads + h) * ceilDiv(p.length, step) + tile;
    order = p.position(beyond - 1) / gradKeyTile - work.first / gradKeyTile;
  }
};

// Sums of ds along the diagonals of a step, in two steps: blocks of 8 keys and 8 queries along a diagonal of such blocks, a row of
// the block for each thread, by loads of 16 bytes without conflicts; then the diagonals of the sums, of which every one lies
// in two neighbours. ds^T is a tile of 64 columns, its keys from pairRows on beside the others.
template <int rows, int step>
struct PairDiagonals {
  static constexpr int down = rows / 8, across = step / 8, count = down + across - 1, threads = 8 * down,
                       pairRows = rows * step / 64;
  // Sums of 64 floats lie apart by 72, for the banks.
  static constexpr int stride = 72;
  static constexpr unsigned bytes = count * stride * 4;

  // Thread 8 slot + r: row r of the blocks (u + slot, u), and then, where the first of the two comes round, (u + slot - down, u).
  template <class T>
  __device__ __forceinline__ static void sumBlocks(const Tile<T, 64>& pairs, Shared<float> sums, int thread) {
    const int slot = thread / 8, r = thread % 8;
    float sum[8] = {};
    const auto store = [&](int diagonal) {
      const auto to = sums + ((diagonal + across - 1) * stride + 8 * r);
      *sharedCast<float4>(to) = make_float4(sum[0], sum[1], sum[2], sum[3]);
      *sharedCast<float4>(to + 4) = make_float4(sum[4], sum[5], sum[6], sum[7]);
    };
#pragma unroll 1
    for (int u = 0; u < across; ++u) {
      if (u + slot == down) {
        store(slot);
#pragma unroll
        for (int c = 0; c < 8; ++c) sum[c] = 0;
      }
      const int row = (u + slot) % down * 8;
      const Run<T, 8> run = *sharedCast<Run<T, 8>>(pairs.unit(row % pairRows + r, row / pairRows * across + u));
#pragma unroll
      for (int c = 0; c < 8; ++c) sum[c] += toFloat(run.x[c]);
    }
    store(slot + across > down ? slot - down : slot);
  }
  // Of query minus key = `offset`, both counted from the step's and the block's first.
  __device__ __forceinline__ static float sumOf(Shared<float> sums, int offset) {
    float sum = 0;
#pragma unroll
    for (int r = 0; r < 8; ++r) {
      const int c = (offset + r) & 7, block = (c - r - offset) / 8 + across - 1;
      if (block >= 0 && block < count) sum += sums[block * stride + 8 * r + c];
    }
    return sum;
  }
};

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

// s (a raw product) becomes ds, g becomes w, of which packWeights takes max(w, 0). `bias` comes times log2 e. Every query of a plain tile attends every key, without
// a bias.
template <bool plain>
__device__ __forceinline__ void pairGrad(float& s, float& g, const QueryRow& row, float bias, bool attended,
                                         float scale) {
  // Rounded as in the forward pass: fma(s, scale, 0) is the rounded product.
  const float score = plain ? roundedProduct(s, scale) : fmaf(s, scale, bias);
  const float weight = exp2Fast(score - row.lse);  // p_ij
  const bool active = weight + row.offset > 0;
  const float ds = weight * ((active ? g : 0.0f) - row.delta), w = weight + row.offset;
  s = plain || attended ? ds : 0.0f;
  g = plain || attended ? w : 0.0f;
}

}  // namespace gpu
