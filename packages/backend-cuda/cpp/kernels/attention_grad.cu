// Backward attention on tensor cores for head sizes up to 128 (spec §Backward): five products, s, g = dO . v, dv, dk and
// dq, in one kernel. delta_i comes from o and u, so nothing is rebuilt. Wider heads: attention_grad_wide.cu.
//
// A block owns 128 keys and goes over the queries that attend them, `step` at a time. A warp owns 16 of the keys: two
// products give s and g (transposed: rows are keys), the lanes turn them into w and ds, which are operand A of the next two
// products, for dv and dk, without leaving the registers. ds also goes to shared memory, from which the warps, now owners
// of 16 queries and 32 columns each, take dq's part of these 128 keys, and dbias its diagonals.
//
// dq needs a sum over blocks. It is kept in f32, in the order of the fragments, and the blocks of a head add to a query tile
// one after another, from the diagonal back to the first key: same order, same bits. The first adds to nothing, the last
// rounds the sum to dq. Blocks take tickets, later keys first; a block waits only for blocks with an earlier ticket, which
// run already, so no order in which the hardware starts blocks can block for ever. Every block begins at its diagonal, a key
// block's length behind the one it waits for: when all start at once, none waits.
//
// What that costs: docs/kernels/cuda.md.
//
// A tile of 16 queries and 16 keys in which the forward pass saw no positive weight has w = 0 and ds = -p delta: it needs
// neither g nor dv. Forward leaves a bit per tile, so a tile that is active costs a branch that all lanes take alike.
#include "kernels/attention_grad.h"

namespace gpu {

namespace {

template <int columns_, int step_, bool resident_>
struct GradShape {
  static constexpr int columns = columns_, step = step_, rows = gradKeyTile, warps = rows / 16, threads = 32 * warps,
                       stages = 2;
  static constexpr bool resident = resident_;
  // A warp's part of dq: 16 queries, 32 columns.
  static constexpr int queryTiles = step / 16, queryColumns = columns * queryTiles / warps;
  static_assert(queryColumns == 32 && queryTiles * (columns / queryColumns) == warps, "every warp has a part of dq");
  static constexpr std::size_t rowBytes = static_cast<std::size_t>(rows) * columns * 2,
                               stepBytes = static_cast<std::size_t>(step) * columns * 2;
  // Distances of a step's queries from the block's keys, one more than there are.
  static constexpr int distances = rows + step;
  static_assert(distances <= threads, "a thread brings one");
  // ds^T: 128 keys by `step` queries. A tile is 64 columns wide, so with 32 queries the keys from 64 lie beside the others.
  static constexpr int pairRows = rows * step / 64;
  static constexpr std::size_t pairBytes = static_cast<std::size_t>(rows) * step * 2;
  // Keys, values, stages of queries and dO, ds where it fits the 99 KiB of sm_86, 89 and 120 (else it takes the place of the
  // step's dO, once dv is done with it), then per stage 16 bytes per query, activity and the
  // bias by distance, and notes.
  static constexpr bool ownPairs = columns == 64;
  static constexpr std::size_t stagesAt = 2 * rowBytes, pairsAt = stagesAt + 2 * stages * stepBytes,
                               rowsAt = pairsAt + (ownPairs ? pairBytes : 0),
                               activeAt = rowsAt + static_cast<std::size_t>(stages) * step * 16,
                               biasAt = activeAt + static_cast<std::size_t>(stages) * queryTiles * 4,
                               notesAt = biasAt + static_cast<std::size_t>(stages) * distances * 4,
                               sharedBytes = notesAt + 48;
  static_assert(ownPairs || pairBytes <= stepBytes, "ds fits the place of dO");
  static_assert(sharedBytes <= 99 * 1024, "fits every architecture");
};
using Grad64 = GradShape<64, 64, true>;
using Grad128 = GradShape<128, 32, false>;

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::threads, 1) gradKernel(const __grid_constant__ AttentionProblem<T> p) {
  constexpr int columns = Shape::columns, step = Shape::step, queryTiles = Shape::queryTiles;
  const int group = p.heads / p.kvHeads, keyBlocks = ceilDiv(p.keys, Shape::rows),
            queryBlocks = ceilDiv(p.length, step);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32, warpRow = 16 * warp;

  // What thread 0 found out for all. Read again in every step: registers are scarcer than shared memory's time.
  const auto notes = sharedMemory<int>(Shape::notesAt);
  const auto work = [&] { return GradWork{notes[0], notes[1], notes[2], notes[3], notes[4], notes[9]}; };
  if (thread == 0) {
    const GradWork taken = takeWork<Shape::rows, step>(p);
    notes[0] = taken.first;
    notes[1] = taken.b;
    notes[2] = taken.kvHead;
    notes[3] = taken.firstTile;
    notes[4] = taken.tiles;
    notes[5] = -1;                // which turn thread 0 passes on next (-1: none)
    notes[6] = 0;                 // and to whom
    notes[7] = 0;                 // head of the group at this step
    notes[8] = notes[4] * group;  // steps
    notes[9] = taken.firstHead;
  }
  __syncthreads();

  const auto stage = [](int i, int which) {
    return Tile<T, columns>{
        sharedMemory<T>(Shape::stagesAt + static_cast<unsigned>(i % Shape::stages * 2 + which) * Shape::stepBytes)};
  };
  const auto pairs = [](int i) {
    return Tile<T, 64>{sharedMemory<T>(
        Shape::ownPairs ? Shape::pairsAt
                        : Shape::stagesAt + static_cast<unsigned>(i % Shape::stages * 2 + 1) * Shape::stepBytes)};
  };
  const auto rowStage = [](int i) {
    return sharedMemory<float4>(Shape::rowsAt + static_cast<unsigned>(i % Shape::stages) * step * 16);
  };
  const auto activeStage = [](int i) {
    return sharedMemory<int>(Shape::activeAt + static_cast<unsigned>(i % Shape::stages) * queryTiles * 4);
  };
  // By query minus key, from 1 - rows.
  const auto biasStage = [](int i) {
    return sharedMemory<float>(Shape::biasAt + static_cast<unsigned>(i % Shape::stages) * Shape::distances * 4);
  };
  RowOperand<T, Shape> keys{{sharedMemory<T>(0)}, warpRow, {}}, values{{sharedMemory<T>(Shape::rowBytes)}, warpRow, {}};
  const auto count = [&] { return notes[8]; };
  const int first = work().first;
  const int rows = p.keys - first < Shape::rows ? p.keys - first : Shape::rows;
  const auto firstKey = [&] { return p.keyAt(work().b, work().first, work().kvHead); };
  const std::int64_t at = firstKey();
  keys.tile.template copyFrom<Shape::rows, Shape::threads>(p.k + at, p.keyStride(), rows, p.headDim);
  values.tile.template copyFrom<Shape::rows, Shape::threads>(p.v + at, p.keyStride(), rows, p.headDim);
  copyAsyncCommit();

  // What a step needs beside rows: loaded early and, where there are registers for it, stored a step's products later.
  Activity next{};
  float nextBias = 0;
  const auto storeFetched = [&](int i) {
    if (thread < queryTiles) activeStage(i)[thread] = opaque(next.low) | opaque(next.high) << 4;
    if (thread < Shape::distances) biasStage(i)[thread] = nextBias * log2e;
  };
  // Step i: the query tiles of a head of the group, then those of the next.
  const auto fetch = [&](int i, int head) {
    const GradWork w = work();
    const int b = w.b, h = w.firstHead + head, query = (w.firstTile + i - head * w.tiles) * step;
    const std::int64_t from = p.queryAt(b, query, h);
    stage(i, 0).template copyFrom<step, Shape::threads>(p.q + from, p.queryStride(), p.length - query, p.headDim);
    stage(i, 1).template copyFrom<step, Shape::threads>(p.dout + from, p.queryStride(), p.length - query, p.headDim);
    if (thread < step) copyAsync16(rowStage(i) + thread, p.terms + p.termsAt(b, h, query + thread), true);
    copyAsyncCommit();
    if (thread < queryTiles) next = p.activityOf(b, h, query / 16 + thread, w.first);
    if (thread < Shape::distances) nextBias = p.biasAt(h, p.position(query) - w.first - (Shape::rows - 1) + thread);
    if (i == 0 || !Shape::resident) storeFetched(i);
  };
  if (count() > 0) fetch(0, 0);
  copyAsyncWait<0>();
  __syncthreads();
  keys.load();
  values.load();

  const bool warpWorks = warpRow < rows;
  const int warpKey = first + warpRow;
  const float scale = p.scale * log2e;
  const int dqRow = warp % queryTiles * 16, dqColumn = warp / queryTiles * Shape::queryColumns;
  const auto passOn = [&] {
    const int held = notes[5], to = notes[6];
    if (held >= 0) passTurn(p.turns + held, to);
  };
  float dk[columns / 8][4], dv[columns / 8][4];
  clear(dk);
  clear(dv);
  for (int i = 0; i < count(); ++i) {
    copyAsyncWait<0>();
    __syncthreads();  // step i is there for all, and all are done with step i - 1
    const GradWork w = work();
    const int head = notes[7], nextHead = head + (i + 1 == (head + 1) * w.tiles);
    const int b = w.b, h = w.firstHead + head, tile = w.firstTile + i - head * w.tiles, query = tile * step;
    if (i + 1 < count()) fetch(i + 1, nextHead);
    const int lastQuery = query + step < p.length ? query + step - 1 : p.length - 1;
    const float firstStart = queryRow(rowStage(i)[0]).start, lastStart = queryRow(rowStage(i)[lastQuery - query]).start;
    const bool works = warpWorks && p.position(lastQuery) >= warpKey && firstStart <= static_cast<float>(warpKey + 15);
    const bool plain = lastQuery - query == step - 1 && warpRow + 15 < rows &&
                       lastStart <= static_cast<float>(warpKey) && p.position(query) - (warpKey + 15) >= p.window;
    // ds of these 16 queries and, where it cannot be stored yet, of the 16 before.
    std::uint32_t mine[4] = {}, earlier[4] = {};
    const auto storePairs = [&](const std::uint32_t (&a)[4], int c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int key = warpRow + lane / 4 + 8 * (e % 2), column = key / Shape::pairRows * step + c + 8 * (e / 2);
        *sharedCast<std::uint32_t>(pairs(i).unit(key % Shape::pairRows, column / 8) + 2 * (lane % 4)) = a[e];
      }
    };
#pragma unroll 1
    for (int c = 0; c < step; c += 16) {
      if constexpr (!Shape::ownPairs) {
#pragma unroll
        for (int e = 0; e < 4; ++e) earlier[e] = mine[e];
      }
      if (works && p.position(query + c + 15) >= warpKey) {
        const bool active = (activeStage(i)[c / 16] >> warp & 1) != 0;
        float s[2][4], g[2][4];
        keys.dot(s, stage(i, 0), c);
        if (active) {
          values.dot(g, stage(i, 1), c);
        } else {
          clear(g);
        }
        const auto pairsOfTile = [&](auto plainTile) {
#pragma unroll
          for (int n = 0; n < 2; ++n) {
#pragma unroll
            for (int odd = 0; odd < 2; ++odd) {
              const int r = c + 8 * n + 2 * (lane % 4) + odd;
              const QueryRow row = queryRow(rowStage(i)[r]);
              const int position = p.position(query + r);
#pragma unroll
              for (int half = 0; half < 2; ++half) {
                const int key = warpRow + lane / 4 + 8 * half, e = 2 * half + odd;
                if constexpr (plainTile.value) {
                  pairGrad<true>(s[n][e], g[n][e], row, 0, true, scale);
                } else {
                  const int j = work().first + key;
                  const bool attended = static_cast<float>(j) >= row.start && j <= position;
                  pairGrad<false>(s[n][e], g[n][e], row, biasStage(i)[r - key + Shape::rows - 1], attended, scale);
                }
              }
            }
          }
        };
        if (plain) {
          pairsOfTile(std::true_type{});
        } else {
          pairsOfTile(std::false_type{});
        }
        if (active) {
          packA<T>(mine, g);
          accumulate(dv, mine, stage(i, 1), c, 0);
        }
        packA<T>(mine, s);
        accumulate(dk, mine, stage(i, 0), c, 0);
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) mine[e] = 0;
      }
      if constexpr (Shape::ownPairs) storePairs(mine, c);
    }
    if constexpr (!Shape::ownPairs) {
      __syncthreads();  // nobody reads dO of this step any more
      static_assert(Shape::ownPairs || queryTiles == 2, "two pieces of ds");
      storePairs(earlier, 0);
      storePairs(mine, 16);
    }
    // Turn t of a query tile is that of the t-th key block before its diagonal. Passing on here and not when the sums were
    // stored, most of a step ago, spares the waiting for the stores.
    const int tileAt = (b * p.heads + h) * queryBlocks + tile;
    int* turn = p.turns + tileAt;
    const int order = p.position(lastQuery) / Shape::rows - first / Shape::rows;
    const bool last = queryRow(rowStage(i)[0]).start >= static_cast<float>(first);
    if (Shape::resident && i + 1 < count()) storeFetched(i + 1);
    if (thread == 0) {
      passOn();
      awaitTurn(turn, order);
      notes[5] = last ? -1 : tileAt;
      notes[6] = order + 1;
    }
    __syncthreads();  // ds is there for all, and it is this block's turn
    if (thread == 0 && i + 1 == (notes[7] + 1) * work().tiles) notes[7] = notes[7] + 1;

    auto* sums =
        reinterpret_cast<float4*>(p.dqSums) + (static_cast<std::int64_t>(tileAt) * Shape::warps + warp) * 4 * 32 + lane;
    float4 before[4];
    const auto loadSums = [&] {
#pragma unroll
      for (int n = 0; n < 4 && order > 0; ++n) before[n] = loadInTurn(turn, sums + 32 * n);
    };
    // Before the product, which hides L2's latency, where there are registers for both.
    if constexpr (Shape::resident) loadSums();
    float dq[4][4];
    clear(dq);
    const int reach = p.position(lastQuery) - first + 1 < rows ? p.position(lastQuery) - first + 1 : rows;
#pragma unroll 2
    for (int key = 0; key < reach; key += 16) {
      std::uint32_t a[4];
      pairs(i).loadATransposed(a, key % Shape::pairRows, key / Shape::pairRows * step + dqRow);
      accumulate(dq, a, keys.tile, key, dqColumn);
    }
    if constexpr (!Shape::resident) loadSums();
    if (order > 0) addSums(dq, before);
    if (last) {
      storeRows(p.dq + p.queryAt(b, query, h) + dqColumn, p.queryStride(), dqRow, p.length - query,
                p.headDim - dqColumn, dq, p.scale);
    } else {
#pragma unroll
      for (int n = 0; n < 4; ++n) storeInTurn(turn, sums + 32 * n, make_float4(dq[n][0], dq[n][1], dq[n][2], dq[n][3]));
    }

    // dbias[h, d] = sum over i - j = d: a thread per diagonal of the tile, keys in order.
    const int nearest = p.position(query) - first;  // distance of the tile's first query and key
    if (p.dbias != nullptr && nearest - (Shape::rows - 1) < p.window) {
      float* dbias =
          p.dbias + ((static_cast<std::int64_t>(b) * keyBlocks + first / Shape::rows) * p.heads + h) * p.window;
      for (int e = thread; e < Shape::rows + step - 1; e += Shape::threads) {
        const int offset = e - (Shape::rows - 1);  // query minus key, within the tile
        const int distance = nearest + offset;
        if (distance < 0 || distance >= p.window) continue;
        const int from = offset < 0 ? -offset : 0, to = step - offset < reach ? step - offset : reach;
        float sum = 0;
        for (int key = from; key < to; ++key) {
          const int column = key / Shape::pairRows * step + key + offset;
          const T pair = *(pairs(i).unit(key % Shape::pairRows, column / 8) + column % 8);
          sum += toFloat(pair);
        }
        dbias[distance] += sum;
      }
    }
  }
  __syncthreads();
  if (thread == 0) passOn();
  storeRows(p.dk + firstKey(), p.keyStride(), warpRow, rows, p.headDim, dk, p.scale);
  storeRows(p.dv + firstKey(), p.keyStride(), warpRow, rows, p.headDim, dv, 1.0f);
}

template <class T, class Shape>
void launchGrad(const AttentionProblem<T>& p, cudaStream_t stream) {
  const std::int64_t blocks = static_cast<std::int64_t>(ceilDiv(p.keys, Shape::rows)) * p.kvHeads * p.batch;
  launch("attentionGrad", gradKernel<T, Shape>, dim3{gridSize(blocks, 1)}, dim3{Shape::threads}, Shape::sharedBytes,
         stream, p);
}

int stepOf(std::int64_t headDim) { return headDim <= 64 ? Grad64::step : Grad128::step; }
int columnsOf(std::int64_t headDim) { return headDim <= 64 ? Grad64::columns : Grad128::columns; }

std::int64_t tilesOf(const AttentionInputs& in) {
  const AttentionSizes& z = in.sizes;
  return z.batch * z.heads * ceilDiv(z.queryLength, std::int64_t{stepOf(z.headDim)});
}

}  // namespace

std::size_t gradSumsBytes(const AttentionInputs& in) {
  if (in.sizes.headDim > 128) return 0;
  return static_cast<std::size_t>(tilesOf(in) * stepOf(in.sizes.headDim) * columnsOf(in.sizes.headDim)) * sizeof(float);
}

std::size_t gradTurnsBytes(const AttentionInputs& in) {
  return in.sizes.headDim > 128 ? 0 : static_cast<std::size_t>(tilesOf(in) + 1) * sizeof(int);
}

template <class T>
void tensorGrad(const AttentionProblem<T>& p, cudaStream_t stream) {
  if (p.headDim <= 64) return launchGrad<T, Grad64>(p, stream);
  if (p.headDim <= 128) return launchGrad<T, Grad128>(p, stream);
  tensorGradWide(p, stream);
}

template void tensorGrad(const AttentionProblem<bf16>&, cudaStream_t);
template void tensorGrad(const AttentionProblem<f16>&, cudaStream_t);

}  // namespace gpu
