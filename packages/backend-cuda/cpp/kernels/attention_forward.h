// A warp's part of forward attention on tensor cores: its rows, the scores of a piece of a key tile, and what either pass
// does with them. attention_forward.cu moves the tiles.
#pragma once

#include "kernels/attention.h"
#include "kernels/tiles.h"

namespace gpu {

// Columns: padded head size. Values: columns of v that a block works on; beyond 128 the output is split over blocks,
// which repeat the scores, since the accumulators of o and u for 256 columns do not fit the registers. Resident: q stays in
// registers, and the bias table takes its place in shared memory.
template <int columns_, int values_, int rowTiles_, int warps_, int keyTile_, int tops_, bool resident_>
struct ForwardShape {
  static constexpr int columns = columns_, values = values_, rowTiles = rowTiles_, warps = warps_, keyTile = keyTile_,
                       tops = tops_;
  static constexpr bool resident = resident_;
  static constexpr int warpRows = 16 * rowTiles, rows = warpRows * warps, threads = 32 * warps;
  static constexpr std::size_t queryBytes = static_cast<std::size_t>(rows) * columns * 2,
                               keyBytes = static_cast<std::size_t>(keyTile) * columns * 2,
                               valueBytes = static_cast<std::size_t>(keyTile) * values * 2;
  // Maxima of pass 1: as many per warp as shared memory has room for. Longer rows keep one for 2, 4, ... key tiles.
  static constexpr std::size_t topsAt = queryBytes + 2 * (keyBytes + valueBytes),
                               startsAt = topsAt + static_cast<std::size_t>(warps) * tops * 4,
                               restAt = startsAt + static_cast<std::size_t>(rows) * 4;
  static constexpr std::size_t unitsAt = resident ? 0 : restAt, tableAt = unitsAt + static_cast<std::size_t>(rows) * 16,
                               tableBytes = resident ? queryBytes - tableAt : 8192,
                               sharedBytes = resident ? restAt : tableAt + tableBytes;
  static_assert(sharedBytes <= 99 * 1024, "fits every architecture");
};

// Plain: all rows of the warp attend all keys, beyond the bias window. Biased: all keys, some within it. Border: the rest.
enum class TileKind { plain, biased, border };

// Where a head's bias lies in shared memory, times log2 e: as a whole, with zeros on either side for what a tile reaches
// beyond distance 0 and the window; or, where that is too wide, a slice for a tile, in turn in two places.
template <class Shape>
struct BiasTable {
  static constexpr int margin = Shape::warpRows + Shape::keyTile, slice = Shape::rows + Shape::keyTile;
  static constexpr int widest = static_cast<int>(Shape::tableBytes / 4) - 2 * margin;
  static_assert(2 * slice * 4 <= Shape::tableBytes, "two slices fit");
  int window, firstPosition;  // of the block

  __device__ __forceinline__ bool sliced() const { return window > widest; }
  // Distance of the first entry for tile t.
  __device__ __forceinline__ int from(int t) const {
    return sliced() ? firstPosition - (t * Shape::keyTile + Shape::keyTile - 1) : -margin;
  }
  __device__ __forceinline__ int entries() const { return sliced() ? slice : window + 2 * margin; }
  __device__ __forceinline__ Shared<float> at(int t) const {
    return sharedMemory<float>(Shape::tableAt) + (sliced() ? (t & 1) * slice : 0);
  }
  template <class T>
  __device__ __forceinline__ void fill(const AttentionProblem<T>& p, int h, int t) const {
    const auto to = at(t);
    for (int e = static_cast<int>(threadIdx.x); e < entries(); e += Shape::threads) {
      to[e] = p.biasAt(h, from(t) + e) * log2e;
    }
  }
};

// 1 + tau / n, the weight of p = 1, where it is positive and a number.
__device__ __forceinline__ float unitOf(float offset) { return offset > -1 && offset < INFINITY ? 1 + offset : 1.0f; }

// Bits of a pair of 0/1 in T.
template <class T>
__device__ __forceinline__ std::uint32_t onePair(bool low, bool high) {
  const std::uint32_t one = std::is_same_v<T, bf16> ? 0x3f80 : 0x3c00;
  return (low ? one : 0) | (high ? one << 16 : 0);
}
// m_ij, from weights as they were before rounding, and after. In f16, small ones have become 0 by then.
template <class T>
__device__ __forceinline__ void ones(std::uint32_t (&m)[4], const std::uint32_t (&w)[4], const float (&exact)[2][4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    if constexpr (std::is_same_v<T, bf16>) {
      m[e] = positivePair(w[e]);
    } else {
      m[e] = onePair<T>(exact[e / 2][e % 2 * 2] > 0, exact[e / 2][e % 2 * 2 + 1] > 0);
    }
  }
}
// Maxima and sums of the columns of each lane become lse of the rows, spec §Forward, in base 2; the lanes of a quad have a row.
template <int rowTiles>
__device__ __forceinline__ void finishRows(const float (&most)[rowTiles][2], float (&lse)[rowTiles][2],
                                           const Beside& beside) {
#pragma unroll
  for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float highest = fmaxf(most[i][half], shuffleXor(most[i][half], 1));
      highest = fmaxf(fmaxf(highest, shuffleXor(highest, 2)), beside.most());
      float total = lse[i][half] * exp2Fast(most[i][half] - highest);
      total += shuffleXor(total, 1);
      total += shuffleXor(total, 2);
      total += beside.template total<true>(highest);
      lse[i][half] = highest + log2Fast(total);
    }
  }
}
// No score up to here gives a positive weight in any of the warp's rows. The margin is for what rounding adds to s - lse,
// exp2 and this threshold itself. A row that is not a number must come out: then nothing is left out.
template <int rowTiles>
__device__ __forceinline__ float thresholdOf(const float (&lse)[rowTiles][2], const float (&offset)[rowTiles][2]) {
  float least = -lowest;
#pragma unroll
  for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float own = lse[i][half] + log2Fast(-offset[i][half]) - (1e-5f + 1e-6f * fabsf(lse[i][half]));
      least = nanMin(least, own);
    }
  }
  return warpAny(least != least) ? -INFINITY : -warpMost(-least);
}

// Where a warp leaves 16 rows: from row `row` of those at `at` (in elements of out, u and a), of which there are `rows`, `width`
// columns.
struct OutputPlace {
  std::int64_t at;
  int row, rows, width;
};
// o, u and a = sum m p v = o - (tau / n) u of 16 rows, from o in units of 1 + tau / n in training.
template <bool training, class T, int count, int countU>
__device__ __forceinline__ void storeOutputs(const AttentionProblem<T>& p, const OutputPlace& place,
                                             const float (&offset)[2], float (&o)[count][4], float (&u)[countU][4]) {
  const auto store = [&](T* to, const auto& x) {
    storeRows(to + place.at, p.queryStride(), place.row, place.rows, place.width, x, 1.0f);
  };
  if constexpr (training) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int n = 0; n < count; ++n) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) o[n][e] *= unitOf(offset[half]);
      }
    }
  }
  store(p.out, o);
  if constexpr (training) {
    store(p.u, u);
#pragma unroll
    for (int n = 0; n < count; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) o[n][e] -= offset[e / 2] * u[n][e];
    }
    store(p.a, o);
  }
}

// Rows lane / 4 + 8 half of each row tile i are this lane's; element [n][e] of a tile of scores lies in column
// 8 n + 2 (lane % 4) + e % 2 and half e / 2. Scores are in base 2: exp2 is the instruction.
template <class T, class Shape, bool training>
struct ForwardWarp {
  static constexpr int columns = Shape::columns, rowTiles = Shape::rowTiles, keyTile = Shape::keyTile,
                       valueTiles = Shape::values / 8;
  using Scores = float[rowTiles][2][4];

  const AttentionProblem<T>& p;
  int b, h, first, warpRow, lane;
  float scale;
  int firstPosition;
  std::uint32_t query[Shape::resident ? rowTiles : 1][Shape::resident ? columns / 16 : 1][4];
  // A row that does not exist is like the last one; nobody sees it.
  float offset[rowTiles][2], most[rowTiles][2], lse[rowTiles][2], top;

  __device__ __forceinline__ ForwardWarp(const AttentionProblem<T>& problem, int b_, int h_, int first_)
      : p(problem), b(b_), h(h_), first(first_) {
    lane = static_cast<int>(threadIdx.x) % 32;
    warpRow = first + static_cast<int>(threadIdx.x) / 32 * Shape::warpRows;
    scale = p.scale * log2e;
    firstPosition = p.position(warpRow);
    top = lowest;
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = rowOf(i, half);
        offset[i][half] = p.offset(b, h, row < p.length ? row : p.length - 1);
        most[i][half] = lowest;
        lse[i][half] = 0;
      }
    }
  }

  __device__ __forceinline__ int rowOf(int i, int half) const { return warpRow + 16 * i + 8 * half + lane / 4; }
  __device__ static Tile<T, columns> queryTile() { return {sharedMemory<T>(0)}; }
  __device__ __forceinline__ BiasTable<Shape> table() const { return {p.window, p.position(first)}; }
  __device__ static Shared<float4> units() { return sharedMemory<float4>(Shape::unitsAt); }
  __device__ static Shared<int> starts() { return sharedMemory<int>(Shape::startsAt); }

  // All of the warp's rows exist. (Of those that do not, the start is that of the last one.)
  __device__ __forceinline__ bool whole() const { return warpRow + Shape::warpRows <= p.length; }

  __device__ __forceinline__ void loadQuery() {
    if constexpr (Shape::resident) {
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
        for (int d = 0; d < columns / 16; ++d) queryTile().loadA(query[i][d], warpRow - first + 16 * i, 16 * d);
      }
    }
  }

  // Tiles that no row of the warp attends are skipped.
  __device__ __forceinline__ bool attends(int t) const {
    const int lastPosition = whole() ? firstPosition + Shape::warpRows - 1 : p.keys - 1;
    return warpRow < p.length && t * keyTile <= lastPosition && t * keyTile + keyTile > starts()[warpRow - first];
  }
  __device__ __forceinline__ TileKind kindOf(int t) const {
    const int nearest = firstPosition - (t * keyTile + keyTile - 1);
    const int lastStart = starts()[warpRow - first + Shape::warpRows - 1];
    const bool all = whole() && t * keyTile >= lastStart && nearest >= 0;
    // The largest product is that of the largest score only where the scale is positive.
    if (all && nearest >= p.window && scale > 0) return TileKind::plain;
    return all && nearest < p.window ? TileKind::biased : TileKind::border;
  }

  // q . k of 16 keys from row `row` of the tile.
  __device__ __forceinline__ void products(Scores& s, const Tile<T, columns>& keys, int row) const {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) clear(s[i]);
#pragma unroll
    for (int d = 0; d < columns; d += 16) {
      std::uint32_t bKeys[4];
      keys.loadB(bKeys, row, d);
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        if constexpr (Shape::resident) {
          multiplyAdd<T>(s[i][0], query[i][d / 16], bKeys[0], bKeys[1]);
          multiplyAdd<T>(s[i][1], query[i][d / 16], bKeys[2], bKeys[3]);
        } else {
          std::uint32_t a[4];
          queryTile().loadA(a, warpRow - first + 16 * i, d);
          multiplyAdd<T>(s[i][0], a, bKeys[0], bKeys[1]);
          multiplyAdd<T>(s[i][1], a, bKeys[2], bKeys[3]);
        }
      }
    }
  }
  // From the row of s[i][n][e] to its key, of keys key..
  __device__ __forceinline__ int distance(int key, int i, int n, int e) const {
    return firstPosition + lane / 4 - key - 2 * (lane % 4) + 16 * i + 8 * (e / 2) - 8 * n - e % 2;
  }
  // Sets what a key that is not attended has in a tile with masks.
  __device__ __forceinline__ void mask(Scores& s, int key, float value) const {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // Borders are few: they must not hold registers through the loop.
        const int row = opaque(rowOf(i, half)), furthest = p.position(row) - starts()[row - first];
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
#pragma unroll
          for (int n = 0; n < 2; ++n) {
            const int away = distance(key, i, n, e);
            if (away < 0 || away > furthest) s[i][n][e] = value;
          }
        }
      }
    }
  }
  // s_ij of spec §Forward for keys key.. (row `row` of the tile); in a plain tile, q . k still without its factor.
  template <TileKind kind>
  __device__ __forceinline__ void scores(Scores& s, const Tile<T, columns>& keys, int row, int t) const {
    products(s, keys, row);
    if constexpr (kind == TileKind::plain) return;
    const Shared<float> bias = table().at(t);
    const int from = table().from(t), last = table().entries() - 1;
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int entry = distance(t * keyTile + row, i, n, e) - from;
          s[i][n][e] = fmaf(s[i][n][e], scale, bias[kind == TileKind::border && entry > last ? last : entry]);
        }
      }
    }
  }

  __device__ __forceinline__ void sumTile(const Tile<T, columns>& keys, int t) {
    const TileKind kind = kindOf(t);
    if (kind == TileKind::plain) return sumTile<TileKind::plain>(keys, t);
    if (kind == TileKind::biased) return sumTile<TileKind::biased>(keys, t);
    sumTile<TileKind::border>(keys, t);
  }
  // Pass 1 over tile t: each lane keeps maximum and sum of its own columns; the quad of a row meets once, at the end.
  template <TileKind kind>
  __device__ __forceinline__ void sumTile(const Tile<T, columns>& keys, int t) {
    constexpr bool raw = kind == TileKind::plain;
#pragma unroll 1
    for (int row = 0; row < keyTile; row += 32) {
      Scores s[2];
      scores<kind>(s[0], keys, row, t);
      scores<kind>(s[1], keys, row + 16, t);
      if constexpr (kind == TileKind::border) {
        mask(s[0], t * keyTile + row, -INFINITY);
        mask(s[1], t * keyTile + row + 16, -INFINITY);
      }
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float next = s[0][i][0][2 * half];
#pragma unroll
          for (int e = 1; e < 8; ++e) next = fmaxf(next, s[e / 4][i][e / 2 % 2][2 * half + e % 2]);
          if (raw) next = roundedProduct(next, scale);
          top = fmaxf(top, next);
          next = fmaxf(most[i][half], next);
          float total = lse[i][half] * exp2Fast(most[i][half] - next);
#pragma unroll
          for (int e = 0; e < 8; ++e) {
            const float x = s[e / 4][i][e / 2 % 2][2 * half + e % 2];
            total += exp2Fast(raw ? fmaf(x, scale, -next) : x - next);
          }
          most[i][half] = next;
          lse[i][half] = total;
        }
      }
    }
  }
  __device__ __forceinline__ void finishSums() { finishRows(most, lse, p.beside(h, log2e)); }
  __device__ __forceinline__ float threshold() const { return thresholdOf(lse, offset); }

  __device__ __forceinline__ void storeSums() const {
    if (lane % 4 != 0) return;
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (rowOf(i, half) < p.length) p.lse[p.rowAt(b, h, rowOf(i, half))] = lse[i][half];
      }
    }
  }
  __device__ __forceinline__ void storeActivity(int activity, int t) const {
    if (p.activity == nullptr || lane != 0) return;
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
      const int group = warpRow / activeRows + i;
      if (group * activeRows < p.length) {
        p.activity[p.activityAt(b, opaque(h), group, t)] = static_cast<std::uint8_t>(activity >> 8 * i & 0xff);
      }
    }
  }

  // In training, w is in units of 1 + tau / n, the weight that p = 1 has, when it is rounded to T: a row with one dominant
  // key then has a = v exactly, and in the gradient g - delta vanishes as it should. Registers are short there, so what a
  // row needs for that waits in shared memory.
  __device__ __forceinline__ void storeUnits() const {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float perUnit = 1 / unitOf(offset[i][half]);
        if (lane % 4 == 0) {
          units()[rowOf(i, half) - first] =
              make_float4(lse[i][half], perUnit, offset[i][half] * perUnit, offset[i][half]);
        }
      }
    }
  }
  // Scores of a row, e = 2 half.., become p + tau / n, in units of 1 + tau / n in training.
  template <bool raw>
  __device__ __forceinline__ void weigh(Scores& s, int i, int half) const {
    float4 row = make_float4(lse[i][half], 1, offset[i][half], 0);
    if constexpr (training) row = units()[opaque(rowOf(i, half) - first)];
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        // The product with the scale is rounded, so that s - lse is exactly 0 for a dominant key.
        const float x = raw ? roundedProduct(s[i][n][e], scale) : s[i][n][e];
        const float p = exp2Fast(x - row.x);
        s[i][n][e] = training ? fmaf(p, row.y, row.z) : p + row.z;
      }
    }
  }
  // Pass 2 over tile t: o += w v and, in training, u += m v. Returns the tile's activity: bit 8 i + c for row tile i and
  // keys 16 c.
  template <TileKind kind>
  __device__ __forceinline__ int addTile(float (&o)[rowTiles][valueTiles][4],
                                         float (&u)[training ? rowTiles : 1][training ? valueTiles : 1][4],
                                         const Tile<T, columns>& keys, const Tile<T, Shape::values>& valuesOfTile,
                                         int t) const {
    int activity = 0;
#pragma unroll 1
    for (int row = 0; row < keyTile; row += 16) {
      Scores s;
      scores<kind>(s, keys, row, t);
      std::uint32_t w[rowTiles][4], m[training ? rowTiles : 1][4];
      bool anyRow = false;
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        weigh<kind == TileKind::plain>(s, i, 0);
        weigh<kind == TileKind::plain>(s, i, 1);
      }
      if constexpr (kind == TileKind::border) mask(s, opaque(t * keyTile + row), 0);  // also when tau is positive
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        packWeights<T>(w[i], s[i]);  // max(w, 0) comes with the rounding
        std::uint32_t bits = w[i][0] | w[i][1] | w[i][2] | w[i][3];
        if constexpr (training) {
          ones<T>(m[i], w[i], s[i]);
          if (std::is_same_v<T, f16>) bits |= m[i][0] | m[i][1] | m[i][2] | m[i][3];
        }
        const bool any = warpAny(bits != 0);
        if constexpr (training) activity |= (any ? 1 : 0) << (8 * i + row / activeKeys);
        anyRow = anyRow || any;
      }
      // Where no weight of the warp is positive, nothing is added: a vote saves the products.
      if (!anyRow) continue;
#pragma unroll
      for (int n = 0; n < valueTiles / 2; ++n) {
        std::uint32_t bValues[4];
        valuesOfTile.loadBTransposed(bValues, row, 16 * n);
#pragma unroll
        for (int i = 0; i < rowTiles; ++i) {
          multiplyAdd<T>(o[i][2 * n], w[i], bValues[0], bValues[1]);
          multiplyAdd<T>(o[i][2 * n + 1], w[i], bValues[2], bValues[3]);
          if constexpr (training) {
            multiplyAdd<T>(u[i][2 * n], m[i], bValues[0], bValues[1]);
            multiplyAdd<T>(u[i][2 * n + 1], m[i], bValues[2], bValues[3]);
          }
        }
      }
    }
    return activity;
  }
  template <class O, class U>
  __device__ __forceinline__ int addTile(O& o, U& u, const Tile<T, columns>& keys,
                                         const Tile<T, Shape::values>& valuesOfTile, int t) const {
    const TileKind kind = kindOf(t);
    if (kind == TileKind::plain) return addTile<TileKind::plain>(o, u, keys, valuesOfTile, t);
    if (kind == TileKind::biased) return addTile<TileKind::biased>(o, u, keys, valuesOfTile, t);
    return addTile<TileKind::border>(o, u, keys, valuesOfTile, t);
  }
};

}  // namespace gpu
