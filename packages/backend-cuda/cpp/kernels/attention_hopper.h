// A warpgroup's part of forward attention on Hopper: its 64 rows, and what either pass does with the scores of a key tile.
// attention_hopper.cu moves the tiles.
#pragma once

#include "gpu/hopper.h"
#include "kernels/attention_forward.h"

namespace gpu {

template <int columns_, int keyTile_, bool training_>
struct HopperShape {
  static constexpr int columns = columns_, keyTile = keyTile_, panels = columns / panelColumns;
  static constexpr bool training = training_;
  static constexpr int groupRows = 64, groups = 2, rows = groupRows * groups, threads = 128 * (groups + 1);
  // Key and value tiles under way, and the maxima of pass 1 that a warp keeps.
  static constexpr int slots = 4, tops = 128, warps = 4 * groups;
  static constexpr unsigned panelBytes = keyTile * panelRowBytes, slotBytes = panelBytes * panels,
                            queryPanelBytes = groupRows * panelRowBytes, queryBytes = groups * panels * queryPanelBytes;
  static constexpr unsigned slotsAt = queryBytes, tableAt = slotsAt + slots * slotBytes, tableBytes = 32768,
                            topsAt = tableAt + tableBytes, phasesAt = topsAt + tops * warps * 4,
                            sharedBytes = phasesAt + (2 * slots + 1) * 8;
  static_assert(sharedBytes <= 227 * 1024, "fits sm_90");
};

// The slots that key and value tiles go through, in the order in which they are asked for: item i has slot i % slots.
template <class T, class Shape>
struct Ring {
  static constexpr int slots = Shape::slots;
  __device__ static Shared<T> at(int i) { return sharedMemory<T>(Shape::slotsAt + i % slots * Shape::slotBytes); }
  __device__ static Phases query() { return sharedMemory<std::uint64_t>(Shape::phasesAt); }
  __device__ static Phases full(int i) { return query() + (1 + i % slots); }
  __device__ static Phases empty(int i) { return query() + (1 + slots + i % slots); }
  // Of the phase in which item i comes, and goes.
  __device__ static int parity(int i) { return i / slots & 1; }

  // By one thread, before all others.
  __device__ static void init() {
    initPhases(query(), 1);
    for (int i = 0; i < slots; ++i) {
      initPhases(full(i), 1);
      initPhases(empty(i), Shape::warps);
    }
    phasesReady();
  }
  __device__ __forceinline__ static void await(int i) { awaitPhase(full(i), parity(i)); }
  // A warp is done with item i.
  __device__ __forceinline__ static void release(int i, int lane) {
    __syncwarp();  // all lanes have seen that it came
    if (lane == 0) arrive(empty(i));
  }
};

// Rows lane / 4 + 8 half of the warp's 16 are this lane's; element [k][n][e] of a tile of scores lies in column
// 16 k + 8 n + 2 (lane % 4) + e % 2 and half e / 2. Scores are in base 2.
template <class T, class Shape>
struct HopperGroup {
  static constexpr int keyTile = Shape::keyTile, pieces = keyTile / 16, groupRows = Shape::groupRows;
  static constexpr bool training = Shape::training;
  // The bias of the head, times log2 e, with zeros on either side for what a tile reaches beyond.
  static constexpr int margin = groupRows + keyTile;
  static_assert(hopperWidestWindow + 2 * margin <= static_cast<int>(Shape::tableBytes / 4), "the table has room");
  using Scores = float[pieces][2][4];
  using Weights = std::uint32_t[pieces][4];

  const AttentionProblem<T>& p;
  int b, h, first, group, lane, warp, firstRow, firstPosition, firstStart, lastStart;
  float scale;
  // A row that does not exist is like the last one, with q = 0; nobody sees it.
  int furthest[2];
  float offset[1][2], most[1][2], lse[1][2], top;

  __device__ __forceinline__ HopperGroup(const AttentionProblem<T>& problem, int b_, int h_, int first_)
      : p(problem), b(b_), h(h_), first(first_) {
    const int thread = static_cast<int>(threadIdx.x) - 128;
    group = thread / 128;
    warp = thread / 32 % 4;
    lane = thread % 32;
    firstRow = first + groupRows * group;
    firstPosition = p.position(firstRow);
    scale = p.scale * log2e;
    top = lowest;
    firstStart = p.start(b, existing(firstRow));
    lastStart = p.start(b, existing(firstRow + groupRows - 1));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = existing(rowOf(half));
      furthest[half] = p.position(rowOf(half)) - p.start(b, row);
      offset[0][half] = p.offset(b, h, row);
      most[0][half] = lowest;
      lse[0][half] = 0;
    }
  }

  __device__ __forceinline__ int existing(int row) const { return row < p.length ? row : p.length - 1; }
  __device__ __forceinline__ int rowOf(int half) const { return firstRow + 16 * warp + 8 * half + lane / 4; }
  __device__ __forceinline__ bool whole() const { return firstRow + groupRows <= p.length; }
  __device__ static Shared<float> table() { return sharedMemory<float>(Shape::tableAt); }

  __device__ __forceinline__ void fillTable() const {
    for (int e = static_cast<int>(threadIdx.x) - 128; e < p.window + 2 * margin; e += 128 * Shape::groups) {
      table()[e] = p.biasAt(h, e - margin) * log2e;
    }
  }

  // Tiles that no row of the group attends are skipped.
  __device__ __forceinline__ bool attends(int t) const {
    const int lastPosition = whole() ? firstPosition + groupRows - 1 : p.keys - 1;
    return firstRow < p.length && t * keyTile <= lastPosition && t * keyTile + keyTile > firstStart;
  }
  __device__ __forceinline__ TileKind kindOf(int t) const {
    const int nearest = firstPosition - (t * keyTile + keyTile - 1);
    const bool all = whole() && t * keyTile >= lastStart && nearest >= 0;
    // The largest product is that of the largest score only where the scale is positive.
    if (all && nearest >= p.window && scale > 0) return TileKind::plain;
    return all && nearest < p.window ? TileKind::biased : TileKind::border;
  }

  // Starts q . k of a key tile.
  __device__ __forceinline__ void multiplyKeys(Scores& s, Shared<T> keys) const {
    const auto query = sharedMemory<T>(group * Shape::panels * Shape::queryPanelBytes);
    fenceProducts();
#pragma unroll
    for (int d = 0; d < Shape::columns / 16; ++d) {
      const int panel = d / 4, along = d % 4 * 16;
      multiply<T, false, false>(s, operandAt(query + (panel * Shape::queryPanelBytes / 2 + along), 1024),
                                operandAt(keys + (panel * Shape::panelBytes / 2 + along), 1024), d > 0);
    }
    commitProducts();
  }
  // Starts o += w v and, in training, u += m v, for a value tile.
  template <class O, class U>
  __device__ __forceinline__ void multiplyValues(O& o, U& u, const Weights& w, const Weights& m, Shared<T> values,
                                                 bool add) const {
    fenceProducts();
#pragma unroll
    for (int k = 0; k < pieces; ++k) {
      const Operand tile = operandAt(values + k * 16 * panelColumns, 1024, Shape::panelBytes);
      multiply<T, true>(o, w[k], tile, k > 0 || add);
      if constexpr (training) multiply<T, true>(u, m[k], tile, k > 0 || add);
    }
    commitProducts();
  }

  // Distance from the lane's first row to its first key of tile t; those of its other scores are less by `behind`.
  __device__ __forceinline__ int furthestKey(int t) const {
    return firstPosition + 16 * warp + lane / 4 - t * keyTile - 2 * (lane % 4);
  }
  template <class Visit>
  __device__ __forceinline__ static void eachScore(const Visit& visit) {
#pragma unroll
    for (int k = 0; k < pieces; ++k) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) visit(k, n, e, 16 * k + 8 * n + e % 2 - 8 * (e / 2));
      }
    }
  }
  // s_ij of spec §Forward; in a plain tile, q . k still without its factor.
  template <TileKind kind>
  __device__ __forceinline__ void addBias(Scores& s, int t) const {
    if constexpr (kind == TileKind::plain) return;
    const int own = furthestKey(t);
    const int last = p.window + 2 * margin - 1;
    eachScore([&](int k, int n, int e, int behind) {
      const int entry = own - behind + margin;
      s[k][n][e] = fmaf(s[k][n][e], scale, table()[kind == TileKind::border && entry > last ? last : entry]);
    });
  }
  // Sets what a key that is not attended has.
  __device__ __forceinline__ void mask(Scores& s, int t, float value) const {
    const int own = furthestKey(t);
    eachScore([&](int k, int n, int e, int behind) {
      const int away = own - behind;
      if (away < 0 || away > furthest[e / 2]) s[k][n][e] = value;
    });
  }

  // Pass 1: each lane keeps maximum and sum of its own columns.
  template <TileKind kind>
  __device__ __forceinline__ void sumTile(Scores& s, int t) {
    constexpr bool raw = kind == TileKind::plain;
    addBias<kind>(s, t);
    if constexpr (kind == TileKind::border) mask(s, t, -INFINITY);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float next = s[0][0][2 * half];
#pragma unroll
      for (int e = 1; e < 4 * pieces; ++e) next = fmaxf(next, s[e / 4][e / 2 % 2][2 * half + e % 2]);
      if (raw) next = roundedProduct(next, scale);
      top = fmaxf(top, next);
      next = fmaxf(most[0][half], next);
      float total[2] = {lse[0][half] * exp2Fast(most[0][half] - next), 0};
#pragma unroll
      for (int e = 0; e < 4 * pieces; ++e) {
        const float x = s[e / 4][e / 2 % 2][2 * half + e % 2];
        total[e % 2] += exp2Fast(raw ? fmaf(x, scale, -next) : x - next);
      }
      most[0][half] = next;
      lse[0][half] = total[0] + total[1];
    }
  }
  __device__ __forceinline__ void sumTile(Scores& s, int t) {
    const TileKind kind = kindOf(t);
    if (kind == TileKind::plain) return sumTile<TileKind::plain>(s, t);
    if (kind == TileKind::biased) return sumTile<TileKind::biased>(s, t);
    sumTile<TileKind::border>(s, t);
  }

  // Pass 2: scores become weights and, in training, m, as operands. Training: w in units of 1 + tau / n, see ForwardWarp. Returns
  // the activity of the warp's rows: bit k for keys 16 k.
  template <TileKind kind>
  __device__ __forceinline__ int weigh(Scores& s, Weights& w, Weights& m, int t) const {
    constexpr bool raw = kind == TileKind::plain;
    addBias<kind>(s, t);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float perUnit = training ? 1 / unitOf(offset[0][half]) : 1.0f, added = offset[0][half] * perUnit;
#pragma unroll
      for (int e = 0; e < 4 * pieces; ++e) {
        float& x = s[e / 4][e / 2 % 2][2 * half + e % 2];
        // The product with the scale is rounded, so that s - lse is exactly 0 for a dominant key.
        const float weight = exp2Fast((raw ? roundedProduct(x, scale) : x) - lse[0][half]);
        x = training ? fmaf(weight, perUnit, added) : weight + added;
      }
    }
    if constexpr (kind == TileKind::border) mask(s, t, 0);  // also when tau is positive
    int activity = 0;
#pragma unroll
    for (int k = 0; k < pieces; ++k) {
      packWeights<T>(w[k], s[k]);  // max(w, 0) comes with the rounding
      if constexpr (training) {
        ones<T>(m[k], w[k], s[k]);
        std::uint32_t bits = w[k][0] | w[k][1] | w[k][2] | w[k][3];
        if (std::is_same_v<T, f16>) bits |= m[k][0] | m[k][1] | m[k][2] | m[k][3];
        activity |= (warpAny(bits != 0) ? 1 : 0) << k;
      }
    }
    return activity;
  }
  __device__ __forceinline__ int weigh(Scores& s, Weights& w, Weights& m, int t) const {
    const TileKind kind = kindOf(t);
    if (kind == TileKind::plain) return weigh<TileKind::plain>(s, w, m, t);
    if (kind == TileKind::biased) return weigh<TileKind::biased>(s, w, m, t);
    return weigh<TileKind::border>(s, w, m, t);
  }

  __device__ __forceinline__ void storeSums() const {
    if (p.lse == nullptr || lane % 4 != 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (rowOf(half) < p.length) p.lse[p.rowAt(b, h, rowOf(half))] = lse[0][half];
    }
  }
  __device__ __forceinline__ void storeActivity(int activity, int t) const {
    const int rowGroup = firstRow / activeRows + warp;
    if (p.activity == nullptr || lane != 0 || rowGroup * activeRows >= p.length) return;
#pragma unroll
    for (int s = 0; s < keyTile / activeSpan; ++s) {
      const int span = t * (keyTile / activeSpan) + s;
      if (span * activeSpan < p.keys) {
        p.activity[p.activityAt(b, h, rowGroup, span)] = static_cast<std::uint8_t>(activity >> 4 * s & 0xf);
      }
    }
  }
};

}  // namespace gpu
