// Backward attention on tensor cores for head sizes above 128, where the operands and dq's, dk's and dv's columns do not fit
// one block (attention_grad.cu is the kernel for the others): one kernel goes over the keys for dq and dbias, one over the
// queries for dk and dv. Both recompute s and g = dO . v, in every block of output columns.
//
// In both, a warp owns 16 rows and works through the other side 16 at a time: two products give s and g, the lanes turn
// them into ds (and w), and these are operand A of the next products without leaving the registers.
#include "kernels/attention_grad.h"

namespace gpu {

namespace {

// Columns: padded head size. The first operands of s and g stay in registers where they fit (`resident`), else they are
// read from shared memory each time. `outputs`: columns of dq, or of dk and dv, per block; the others repeat s and g.
template <int columns_, int rowTiles_, int warps_, int step_, int stages_, bool resident_, int outputs_>
struct GradShape {
  static constexpr int columns = columns_, rowTiles = rowTiles_, warps = warps_, step = step_, stages = stages_,
                       outputs = outputs_;
  static constexpr bool resident = resident_;
  static constexpr int rows = 16 * rowTiles * warps, threads = 32 * warps;
  static constexpr std::size_t rowBytes = static_cast<std::size_t>(rows) * columns * 2,
                               stepBytes = static_cast<std::size_t>(step) * columns * 2;
  // [rows] x 2, stages x [step] x 2, then 16 bytes per query and stage, or the staging of dbias.
  static constexpr std::size_t stagesAt = 2 * rowBytes, restAt = stagesAt + 2 * stages * stepBytes;
  // Where ds of row r and column c waits for dbias. Rows are turned against each other, so that both the lanes that store
  // and those that walk along a diagonal meet different banks.
  __device__ static constexpr int stagingAtPair(int r, int c) { return r * step + ((c + 8 * r) & (step - 1)); }
  // Resident operands leave their tiles free once they are loaded.
  static constexpr std::size_t stagingAt = resident ? 0 : restAt;
  static constexpr std::size_t stagingBytes = resident ? 0 : static_cast<std::size_t>(rows) * step * 4;
  static_assert(!resident || static_cast<std::size_t>(rows) * step * 4 <= 2 * rowBytes, "dbias's staging fits");
  static constexpr std::size_t queryGradBytes = restAt + stagingBytes;
  static constexpr std::size_t keyGradBytes = restAt + static_cast<std::size_t>(stages) * step * 16;
};
using QueryGrad256 = GradShape<256, 1, 4, 16, 1, false, 128>;
using KeyGrad256 = GradShape<256, 1, 4, 16, 1, false, 64>;
static_assert(QueryGrad256::rows == wideGradRows, "the number of dbias's partial sums follows from it");

// dq_i = scale sum_j ds_ij k_j, and this row tile's part of dbias.
template <class T, class Shape>
__global__ void __launch_bounds__(Shape::threads, 1)
    queryGradKernel(const __grid_constant__ AttentionProblem<T> p, int outputBlocks) {
  constexpr int columns = Shape::columns, step = Shape::step;
  static_assert(Shape::rowTiles == 1, "a warp owns 16 rows");
  const int rowTile = static_cast<int>(gridDim.x - 1 - blockIdx.x), first = rowTile * Shape::rows;
  const int b = static_cast<int>(blockIdx.z) / outputBlocks, h = static_cast<int>(blockIdx.y),
            kvHead = h / (p.heads / p.kvHeads);
  const int firstOutput = static_cast<int>(blockIdx.z) % outputBlocks * Shape::outputs;
  const int lane = static_cast<int>(threadIdx.x) % 32, warpRow = static_cast<int>(threadIdx.x) / 32 * 16;
  const int rows = p.length - first < Shape::rows ? p.length - first : Shape::rows;
  const auto stage = [](int t, int which) {
    return Tile<T, columns>{
        sharedMemory<T>(Shape::stagesAt + static_cast<unsigned>(t % Shape::stages * 2 + which) * Shape::stepBytes)};
  };
  const int firstTile = p.start(b, first) / step, lastTile = p.position(first + rows - 1) / step;
  const auto fetch = [&](int t) {
    const std::int64_t at = p.keyAt(b, t * step, kvHead);
    stage(t, 0).template copyFrom<step, Shape::threads>(p.k + at, p.keyStride(), p.keys - t * step, p.headDim);
    stage(t, 1).template copyFrom<step, Shape::threads>(p.v + at, p.keyStride(), p.keys - t * step, p.headDim);
    copyAsyncCommit();
  };
  RowOperand<T, Shape> queries{{sharedMemory<T>(0)}, warpRow, {}},
      gradients{{sharedMemory<T>(Shape::rowBytes)}, warpRow, {}};
  const std::int64_t at = p.queryAt(b, first, h);
  queries.tile.template copyFrom<Shape::rows, Shape::threads>(p.q + at, p.queryStride(), rows, p.headDim);
  gradients.tile.template copyFrom<Shape::rows, Shape::threads>(p.dout + at, p.queryStride(), rows, p.headDim);
  copyAsyncCommit();
  fetch(firstTile);
  const float4* terms = p.terms + p.termsAt(b, h, first + warpRow + lane / 4);
  const QueryRow row[2] = {queryRow(terms[0]), queryRow(terms[8])};
  copyAsyncWait<1>();
  __syncthreads();
  queries.load();
  gradients.load();

  const bool warpWorks = warpRow < rows;
  const int warpEnd = warpRow + 15 < rows ? warpRow + 15 : rows - 1;
  const int firstPosition = p.position(first + warpRow), lastPosition = p.position(first + warpEnd);
  const int firstStart = warpWorks ? p.start(b, first + warpRow) : 0,
            lastStart = warpWorks ? p.start(b, first + warpEnd) : 0;
  const float scale = p.scale * log2e;
  const auto staging = sharedMemory<float>(Shape::stagingAt);
  float* dbias = p.dbias == nullptr || firstOutput != 0
                     ? nullptr
                     : p.dbias + ((static_cast<std::int64_t>(b) * gridDim.x + rowTile) * p.heads + h) * p.window;
  float dq[Shape::outputs / 8][4];
  clear(dq);
  for (int t = firstTile; t <= lastTile; ++t) {
    copyAsyncWait<0>();
    __syncthreads();
    if (Shape::stages > 1 && t < lastTile) fetch(t + 1);
    const int key = t * step;
    const bool works = warpWorks && key <= lastPosition && key + step > firstStart;
    const bool plain = warpRow + 15 < rows && key >= lastStart && firstPosition - (key + step - 1) >= p.window;
    // Some pair of the block lies within the bias window.
    const bool near = dbias != nullptr && p.position(first) - (key + step - 1) < p.window;
#pragma unroll 1
    for (int c = 0; c < step; c += 16) {
      float s[2][4], g[2][4];
      clear(s);
      if (works) {
        queries.dot(s, stage(t, 0), c, Tile<T, columns>::laneDown());
        gradients.dot(g, stage(t, 1), c, Tile<T, columns>::laneDown());
        const auto pairsOfTile = [&](auto plainTile) {
#pragma unroll
          for (int n = 0; n < 2; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const QueryRow& mine = row[e / 2];
              if constexpr (plainTile.value) {
                pairGrad<true>(s[n][e], g[n][e], mine, 0, true, scale);
              } else {
                const int j = key + c + 8 * n + 2 * (lane % 4) + e % 2;
                const int i = p.position(first + warpRow + lane / 4 + 8 * (e / 2));
                const bool attended = static_cast<float>(j) >= mine.start && j <= i;
                pairGrad<false>(s[n][e], g[n][e], mine, p.biasAt(h, i - j) * log2e, attended, scale);
              }
            }
          }
        };
        if (plain) {
          pairsOfTile(std::true_type{});
        } else {
          pairsOfTile(std::false_type{});
        }
        std::uint32_t ds[4];
        packA<T>(ds, s);
        accumulate(dq, ds, stage(t, 0), c, firstOutput);
      }
      if (near) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            staging[Shape::stagingAtPair(warpRow + lane / 4 + 8 * (e / 2), c + 8 * n + 2 * (lane % 4) + e % 2)] =
                s[n][e];
          }
        }
      }
    }
    if (near) {
      __syncthreads();
      // dbias[h, d] = sum over i - j = d: a thread per diagonal of the tile, rows in order.
      for (int e = static_cast<int>(threadIdx.x); e < Shape::rows + step - 1; e += Shape::threads) {
        const int distance = p.position(first) - key - (step - 1) + e;
        if (distance < 0 || distance >= p.window) continue;
        const int from = e - (step - 1) > 0 ? e - (step - 1) : 0, to = e < Shape::rows ? e : Shape::rows - 1;
        float sum = 0;
        for (int r = from; r <= to; ++r) sum += staging[Shape::stagingAtPair(r, r + step - 1 - e)];
        dbias[distance] += sum;
      }
    }
    if (Shape::stages == 1) {
      __syncthreads();
      if (t < lastTile) fetch(t + 1);
    }
  }
  storeRows(p.dq + at + firstOutput, p.queryStride(), warpRow, rows, p.headDim - firstOutput, dq, p.scale);
}

// dk_j = scale sum_i ds_ij q_i and dv_j = sum_i w_ij dO_i. Rows are keys; the queries of all heads of the group stream by.
template <class T, class Shape>
__global__ void __launch_bounds__(Shape::threads, 1)
    keyGradKernel(const __grid_constant__ AttentionProblem<T> p, int outputBlocks) {
  constexpr int columns = Shape::columns, step = Shape::step, outputTiles = Shape::outputs / 8;
  const int first = static_cast<int>(blockIdx.x) * Shape::rows, kvHead = static_cast<int>(blockIdx.y);
  const int b = static_cast<int>(blockIdx.z) / outputBlocks;
  const int firstOutput = static_cast<int>(blockIdx.z) % outputBlocks * Shape::outputs;
  const int group = p.heads / p.kvHeads;
  const int lane = static_cast<int>(threadIdx.x) % 32, warpRow = static_cast<int>(threadIdx.x) / 32 * 16;
  const int rows = p.keys - first < Shape::rows ? p.keys - first : Shape::rows;
  const auto stage = [](int i, int which) {
    return Tile<T, columns>{
        sharedMemory<T>(Shape::stagesAt + static_cast<unsigned>(i % Shape::stages * 2 + which) * Shape::stepBytes)};
  };
  const auto rowStage = [](int i) {
    return sharedMemory<float4>(Shape::restAt + static_cast<unsigned>(i % Shape::stages) * step * 16);
  };
  RowOperand<T, Shape> keys{{sharedMemory<T>(0)}, warpRow, {}}, values{{sharedMemory<T>(Shape::rowBytes)}, warpRow, {}};
  const std::int64_t at = p.keyAt(b, first, kvHead);
  keys.tile.template copyFrom<Shape::rows, Shape::threads>(p.k + at, p.keyStride(), rows, p.headDim);
  values.tile.template copyFrom<Shape::rows, Shape::threads>(p.v + at, p.keyStride(), rows, p.headDim);
  copyAsyncCommit();

  // Query tiles that may attend these keys: from the first position that reaches them to the last start that does.
  const int shift = p.keys - p.length;
  const int firstTile = first - shift > 0 ? (first - shift) / step : 0;
  const int endTile = tileBeyond(p, b, step, firstTile, ceilDiv(p.length, step), first + rows);
  const GradWork work{first, b, kvHead, firstTile, endTile - firstTile, kvHead * group};
  const int count = work.tiles * group;
  const auto fetch = [&](int i, const GradPlace& place) {
    const int h = place.headOf(work), query = place.tileOf(work) * step;
    const std::int64_t from = p.queryAt(b, query, h);
    stage(i, 0).template copyFrom<step, Shape::threads>(p.q + from, p.queryStride(), p.length - query, p.headDim);
    stage(i, 1).template copyFrom<step, Shape::threads>(p.dout + from, p.queryStride(), p.length - query, p.headDim);
    const int r = static_cast<int>(threadIdx.x);
    if (r < step) copyAsync16(rowStage(i) + r, p.terms + p.termsAt(b, h, query + r), true);
    copyAsyncCommit();
  };
  GradPlace place;
  if (count > 0) fetch(0, place);
  copyAsyncWait<0>();
  __syncthreads();
  keys.load();
  values.load();

  const bool warpWorks = warpRow < rows;
  const int warpKey = first + warpRow;
  const float scale = p.scale * log2e;
  float dk[outputTiles][4], dv[outputTiles][4];
  clear(dk);
  clear(dv);
  for (int i = 0; i < count; ++i) {
    copyAsyncWait<0>();
    __syncthreads();
    const int h = place.headOf(work), query = place.tileOf(work) * step;
    place.next(work);
    if (Shape::stages > 1 && i + 1 < count) fetch(i + 1, place);
    const int lastQuery = query + step < p.length ? query + step - 1 : p.length - 1;
    const float firstStart = queryRow(rowStage(i)[0]).start, lastStart = queryRow(rowStage(i)[lastQuery - query]).start;
    const bool works = warpWorks && p.position(lastQuery) >= warpKey && firstStart <= static_cast<float>(warpKey + 15);
    const bool plain = lastQuery - query == step - 1 && warpRow + 15 < rows &&
                       lastStart <= static_cast<float>(warpKey) && p.position(query) - (warpKey + 15) >= p.window;
#pragma unroll 1
    for (int c = 0; works && c < step; c += 16) {
      float s[2][4], g[2][4];
      keys.dot(s, stage(i, 0), c, Tile<T, columns>::laneDown());
      values.dot(g, stage(i, 1), c, Tile<T, columns>::laneDown());
      const auto pairsOfTile = [&](auto plainTile) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
          for (int odd = 0; odd < 2; ++odd) {
            const int r = c + 8 * n + 2 * (lane % 4) + odd, position = p.position(query + r);
            const QueryRow row = queryRow(rowStage(i)[r]);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              const int e = 2 * half + odd;
              if constexpr (plainTile.value) {
                pairGrad<true>(s[n][e], g[n][e], row, 0, true, scale);
              } else {
                const int j = warpKey + lane / 4 + 8 * half;
                const bool attended = static_cast<float>(j) >= row.start && j <= position;
                pairGrad<false>(s[n][e], g[n][e], row, p.biasAt(h, position - j) * log2e, attended, scale);
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
      std::uint32_t a[4];
      packWeights<T>(a, g);
      accumulate(dv, a, stage(i, 1), c, firstOutput);
      packA<T>(a, s);
      accumulate(dk, a, stage(i, 0), c, firstOutput);
    }
    if (Shape::stages == 1) {
      __syncthreads();
      if (i + 1 < count) fetch(i + 1, place);
    }
  }
  storeRows(p.dk + at + firstOutput, p.keyStride(), warpRow, rows, p.headDim - firstOutput, dk, p.scale);
  storeRows(p.dv + at + firstOutput, p.keyStride(), warpRow, rows, p.headDim - firstOutput, dv, 1.0f);
}

template <class T, class Query, class Key>
void launchGrad(const AttentionProblem<T>& p, cudaStream_t stream) {
  const auto u = [](int x) { return static_cast<unsigned>(x); };
  const int queryBlocks = ceilDiv(p.headDim, Query::outputs), keyBlocks = ceilDiv(p.headDim, Key::outputs);
  launch("attentionGrad dq", queryGradKernel<T, Query>,
         dim3{u(ceilDiv(p.length, Query::rows)), u(p.heads), u(p.batch * queryBlocks)}, dim3{Query::threads},
         Query::queryGradBytes, stream, p, queryBlocks);
  launch("attentionGrad dk dv", keyGradKernel<T, Key>,
         dim3{u(ceilDiv(p.keys, Key::rows)), u(p.kvHeads), u(p.batch * keyBlocks)}, dim3{Key::threads},
         Key::keyGradBytes, stream, p, keyBlocks);
}

}  // namespace

template <class T>
void tensorGradWide(const AttentionProblem<T>& p, cudaStream_t stream) {
  launchGrad<T, QueryGrad256, KeyGrad256>(p, stream);
}

template void tensorGradWide(const AttentionProblem<bf16>&, cudaStream_t);
template void tensorGradWide(const AttentionProblem<f16>&, cudaStream_t);

}  // namespace gpu
