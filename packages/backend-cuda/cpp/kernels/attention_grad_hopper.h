// Where a block of attention_grad_hopper.cu keeps what, and what its warpgroups do with a step: dk and dv of 64 keys, dq and dbias
// of 64 queries.
#pragma once

#include "gpu/hopper.h"
#include "kernels/attention_forward.h"
#include "kernels/attention_grad.h"

namespace gpu {

// Rows of 64 columns (narrower heads are filled up). A step is 64 queries, of which `piece` at a time become pairs.
template <int piece_, int stages_, int bringing_, int ofQueries_, int ofKeys_>
struct HopperGradShape {
  static constexpr int columns = panelColumns, piece = piece_, stages = stages_, step = hopperGradStep,
                       rows = gradKeyTile, groupRows = 64, groups = rows / groupRows, threads = 128 * (groups + 2);
  static constexpr int bringing = bringing_, ofQueries = ofQueries_, ofKeys = ofKeys_;
  static_assert(128 * (bringing + ofQueries + groups * ofKeys) <= 65536, "registers of a multiprocessor");
  // Distances of a step's queries from the block's keys, one more than there are.
  static constexpr int distances = rows + step;
  using Diagonals = PairDiagonals<rows, step>;
  static constexpr unsigned keyBytes = rows * panelRowBytes, stepBytes = step * panelRowBytes,
                            pairBytes = rows * panelRowBytes;
  static constexpr unsigned valuesAt = keyBytes, stagesAt = 2 * keyBytes, pairsAt = stagesAt + 2 * stages * stepBytes,
                            termsAt = pairsAt + 2 * pairBytes, biasAt = termsAt + stages * step * 16,
                            diagonalsAt = biasAt + stages * distances * 4, notesAt = diagonalsAt + Diagonals::bytes,
                            phasesAt = notesAt + 32, sharedBytes = phasesAt + (1 + 2 * stages + 10) * 8;
  static_assert(sharedBytes <= 227 * 1024, "fits sm_90");
};

// Barriers from the first-th on; those of i come again every `slots`.
template <class Shape, int first, int slots>
struct PhaseRing {
  __device__ __forceinline__ static Phases at(int i) {
    return sharedMemory<std::uint64_t>(Shape::phasesAt) + (first + i % slots);
  }
  __device__ __forceinline__ static void init(int arrivals) {
    for (int i = 0; i < slots; ++i) initPhases(at(i), arrivals);
  }
  __device__ __forceinline__ static void await(int i) { awaitPhase(at(i), i / slots & 1); }
  __device__ __forceinline__ static void arriveAlone(int i) { arrive(at(i)); }
  // For all lanes of a warp.
  __device__ __forceinline__ static void arriveAsWarp(int i, int lane) {
    __syncwarp();
    if (lane == 0) arrive(at(i));
  }
};

template <class Shape>
struct GradRings {
  static constexpr int stages = Shape::stages;
  using Keys = PhaseRing<Shape, 0, 1>;
  // What a step needs is there; both warpgroups of keys are done with it.
  using Full = PhaseRing<Shape, 1, stages>;
  using Empty = PhaseRing<Shape, 1 + stages, stages>;
  // So for ds, and the warpgroup of queries.
  using Pairs = PhaseRing<Shape, 1 + 2 * stages, 2>;
  using Taken = PhaseRing<Shape, 3 + 2 * stages, 2>;
  // It is this block's turn at dq's sums; they are stored; that is known to him who passes the turn on.
  using Turn = PhaseRing<Shape, 5 + 2 * stages, 2>;
  using Added = PhaseRing<Shape, 7 + 2 * stages, 2>;
  using Passed = PhaseRing<Shape, 9 + 2 * stages, 2>;

  // By one thread, before all others.
  __device__ static void init() {
    Keys::init(1);
    Full::init(32);
    Empty::init(4 * Shape::groups);
    Pairs::init(4 * Shape::groups);
    Taken::init(4);
    Turn::init(1);
    Added::init(4);
    Passed::init(1);
    phasesReady();
  }
};

// Where step i finds its things.
template <class T, class Shape>
struct GradStep {
  int i;

  __device__ __forceinline__ unsigned stage() const { return static_cast<unsigned>(i % Shape::stages); }
  __device__ __forceinline__ Shared<T> queries() const {
    return sharedMemory<T>(Shape::stagesAt + stage() * 2 * Shape::stepBytes);
  }
  __device__ __forceinline__ Shared<T> gradients() const { return queries() + Shape::stepBytes / 2; }
  // ds, transposed: rows are keys.
  __device__ __forceinline__ Shared<T> pairs() const {
    return sharedMemory<T>(Shape::pairsAt + static_cast<unsigned>(i % 2) * Shape::pairBytes);
  }
  __device__ __forceinline__ Shared<float4> terms() const {
    return sharedMemory<float4>(Shape::termsAt + stage() * Shape::step * 16);
  }
  // By query minus key, from 1 - rows.
  __device__ __forceinline__ Shared<float> bias() const {
    return sharedMemory<float>(Shape::biasAt + stage() * Shape::distances * 4);
  }
};

using HopperGradTurn = GradTurn<hopperGradStep>;
template <class T>
__device__ __forceinline__ HopperGradTurn turnOf(const AttentionProblem<T>& p, const GradWork& work,
                                                 const GradPlace& place) {
  const int tile = place.tileOf(work);
  return {p, work, place.headOf(work), tile, p.start(work.b, tile * hopperGradStep)};
}

// A warpgroup's 64 keys. Rows of its pairs are keys, columns queries; element [k][n][e] of a piece lies in row
// 16 warp + lane / 4 + 8 (e / 2) and column 16 k + 8 n + 2 (lane % 4) + e % 2.
template <class T, class Shape>
struct KeyGroup {
  static constexpr int columns = Shape::columns, step = Shape::step, groupRows = Shape::groupRows,
                       parts = Shape::piece / 16;
  using Scores = float[parts][2][4];
  using Operands = std::uint32_t[parts][4];
  using Gradient = float[columns / 8][4];

  const AttentionProblem<T>& p;
  int first, rows, group, warp, lane;

  __device__ __forceinline__ KeyGroup(const AttentionProblem<T>& problem, const GradWork& work)
      : p(problem), first(work.first), rows(p.keys - first < Shape::rows ? p.keys - first : Shape::rows) {
    const int thread = static_cast<int>(threadIdx.x) - 256;
    group = thread / 128;
    warp = thread / 32 % 4;
    lane = thread % 32;
  }

  __device__ __forceinline__ int firstKey() const { return first + groupRows * group; }
  __device__ __forceinline__ int warpRow() const { return groupRows * group + 16 * warp; }

  // Some of these queries attends some of the keys.
  __device__ __forceinline__ bool works(const GradStep<T, Shape>& at, int query) const {
    const int beyond = query + step < p.length ? query + step : p.length;
    return groupRows * group < rows && p.position(beyond - 1) >= firstKey() &&
           queryRow(at.terms()[0]).start <= static_cast<float>(firstKey() + groupRows - 1);
  }
  __device__ __forceinline__ TileKind kindOf(const GradStep<T, Shape>& at, int query) const {
    const int nearest = p.position(query) - (firstKey() + groupRows - 1);
    const bool all = query + step <= p.length && groupRows * (group + 1) <= rows && nearest >= 0 &&
                     queryRow(at.terms()[step - 1]).start <= static_cast<float>(firstKey());
    if (!all) return TileKind::border;
    return nearest >= p.window ? TileKind::plain : TileKind::biased;
  }

  // Starts s = k . q and g = v . dO of a piece, whose first query is `column` of the step.
  __device__ __forceinline__ void multiplyPairs(Scores& s, Scores& g, const GradStep<T, Shape>& at, int column) const {
    fenceProducts();
#pragma unroll
    for (int d = 0; d < columns / 16; ++d) {
      const int key = groupRows * group * columns + 16 * d, query = column * columns + 16 * d;
      multiply<T, false, false>(s, operandAt(sharedMemory<T>(0) + key, 1024), operandAt(at.queries() + query, 1024),
                                d > 0);
      multiply<T, false, false>(g, operandAt(sharedMemory<T>(Shape::valuesAt) + key, 1024),
                                operandAt(at.gradients() + query, 1024), d > 0);
    }
    commitProducts();
  }
  // spec §Backward: s becomes ds, g becomes w, still without max(w, 0).
  template <TileKind kind>
  __device__ __forceinline__ void pairsOf(Scores& s, Scores& g, const GradStep<T, Shape>& at, int query,
                                          int column) const {
    const float scale = p.scale * log2e;
#pragma unroll
    for (int c = 0; c < 4 * parts; ++c) {
      const int r = column + c / 2 * 8 + 2 * (lane % 4) + c % 2;
      const QueryRow row = queryRow(at.terms()[r]);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int key = warpRow() + lane / 4 + 8 * half;
        float &x = s[c / 4][c / 2 % 2][2 * half + c % 2], &y = g[c / 4][c / 2 % 2][2 * half + c % 2];
        // Rounded as in the forward pass: fma(s, scale, 0) is the rounded product.
        const float score =
            kind == TileKind::plain ? roundedProduct(x, scale) : fmaf(x, scale, at.bias()[r - key + Shape::rows - 1]);
        const float weight = exp2Fast(score - row.lse);  // p_ij
        const float w = weight + row.offset;
        const float ds = weight * ((w > 0 ? y : 0.0f) - row.delta);
        const int j = first + key;
        const bool attended =
            kind != TileKind::border || (static_cast<float>(j) >= row.start && j <= p.position(query + r));
        x = attended ? ds : 0.0f;
        y = attended ? w : 0.0f;
      }
    }
  }
  __device__ __forceinline__ void pairsOf(Scores& s, Scores& g, const GradStep<T, Shape>& at, int query,
                                          int column) const {
    const TileKind kind = kindOf(at, query);
    if (kind == TileKind::plain) return pairsOf<TileKind::plain>(s, g, at, query, column);
    if (kind == TileKind::biased) return pairsOf<TileKind::biased>(s, g, at, query, column);
    pairsOf<TileKind::border>(s, g, at, query, column);
  }
  // Starts dv += w dO and dk += ds q of a piece. There is no next panel; that the operands name one all the same makes their
  // descriptors unlike those of the pairs, which costs nvcc 6 instructions fewer.
  __device__ __forceinline__ void multiplyGrads(Gradient& dk, Gradient& dv, const Operands& ds, const Operands& w,
                                                const GradStep<T, Shape>& at, int column, bool add) const {
    fenceProducts();
#pragma unroll
    for (int k = 0; k < parts; ++k) {
      const int query = (column + 16 * k) * columns;
      multiply<T, true>(dv, w[k], operandAt(at.gradients() + query, 1024, Shape::stepBytes), k > 0 || add);
      multiply<T, true>(dk, ds[k], operandAt(at.queries() + query, 1024, Shape::stepBytes), k > 0 || add);
    }
    commitProducts();
  }
  __device__ __forceinline__ void storePairs(const Operands& ds, const GradStep<T, Shape>& at, int column) const {
    const Tile<T, 64> tile{at.pairs()};
#pragma unroll
    for (int e = 0; e < 4 * parts; ++e) {
      const int key = warpRow() + lane / 4 + 8 * (e % 2);
      *sharedCast<std::uint32_t>(tile.unit(key, column / 8 + e / 2) + 2 * (lane % 4)) = ds[e / 4][e % 4];
    }
  }
};

// The warpgroup that takes dq of a step's queries and dbias of its pairs.
template <class T, class Shape>
struct QueryGroup {
  static constexpr int step = Shape::step, rows = Shape::rows;

  const AttentionProblem<T>& p;
  const GradWork& work;
  int warp, lane;

  __device__ __forceinline__ QueryGroup(const AttentionProblem<T>& problem, const GradWork& taken)
      : p(problem),
        work(taken),
        warp(static_cast<int>(threadIdx.x) / 32 - 4),
        lane(static_cast<int>(threadIdx.x) % 32) {}

  // Of a query tile, in the order of the fragments.
  __device__ __forceinline__ float4* sums(const HopperGradTurn& turn) const {
    const std::int64_t part = static_cast<std::int64_t>(turn.at) * 4 + warp;
    return reinterpret_cast<float4*>(p.dqSums) + part * 8 * 32 + lane;
  }
  // Starts dq = ds . k of these 128 keys.
  __device__ __forceinline__ void multiplyQueries(float (&dq)[8][4], const GradStep<T, Shape>& at) const {
    const auto keys = sharedMemory<T>(0);
    fenceProducts();
#pragma unroll
    for (int k = 0; k < rows / 16; ++k) {
      multiply<T, true, true>(dq, operandAt(at.pairs() + k * 16 * Shape::columns, 1024),
                              operandAt(keys + k * 16 * Shape::columns, 1024), k > 0);
    }
    commitProducts();
  }
  __device__ __forceinline__ void storeQueries(const float (&dq)[8][4], const HopperGradTurn& turn, int h,
                                               int query) const {
    if (turn.last) {
      return storeRows(p.dq + p.queryAt(work.b, query, h), p.queryStride(), 16 * warp, p.length - query, p.headDim, dq,
                       p.scale);
    }
    float4* to = sums(turn);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      storeInTurn(p.turns + turn.at, to + 32 * n, make_float4(dq[n][0], dq[n][1], dq[n][2], dq[n][3]));
    }
  }

  // Some pair of the step is within the bias window.
  __device__ __forceinline__ bool near(int query) const {
    return p.dbias != nullptr && p.position(query) - work.first - (rows - 1) < p.window;
  }
  // spec §Backward: dbias.
  __device__ __forceinline__ void addDiagonals(const GradStep<T, Shape>& at, int h, int query) const {
    using Diagonals = typename Shape::Diagonals;
    static_assert(Diagonals::threads == 128, "the warpgroup sums blocks");
    const int nearest = p.position(query) - work.first;  // distance of the step's first query and key
    const auto blocks = sharedMemory<float>(Shape::diagonalsAt);
    const int thread = 32 * warp + lane;
    namedBarrier<1, 128>();  // all are done with the last step's sums
    Diagonals::sumBlocks(Tile<T, 64>{at.pairs()}, blocks, thread);
    namedBarrier<1, 128>();
    const std::int64_t part = static_cast<std::int64_t>(work.b) * ceilDiv(p.keys, rows) + work.first / rows;
    float* dbias = p.dbias + (part * p.heads + h) * p.window;
    for (int e = thread; e < rows + step - 1; e += 128) {
      const int offset = e - (rows - 1), distance = nearest + offset;  // query minus key
      if (distance < 0 || distance >= p.window) continue;
      dbias[distance] += Diagonals::sumOf(blocks, offset);
    }
  }
};

}  // namespace gpu
