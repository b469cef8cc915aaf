// Forward attention on tensor cores: two passes over the keys (spec §Exact algorithms). The ReLU needs the final lse,
// so pass 1 streams the keys for lse alone, and pass 2 recomputes the scores, 16 keys at a time, turns them into weights
// (and, for training, the 0/1 matrix m) in registers, and multiplies them with the values.
//
// A warp owns whole rows, so lse stays within a quad of lanes. A key tile is plain, biased or on a border for a warp, and
// each has code of its own, so that the many plain ones pay for no mask.
//
// Pass 1 also keeps the largest score of a warp's rows per key tile. Where that is below what the smallest weight needs
// (lse_i + log(-tau / n_i), the least of the warp's rows), pass 2 leaves out the whole tile, q . k too. Rows of a warp are
// neighbours, so their thresholds are close; a threshold per row would cost a vote per tile. History: docs/kernels/cuda.md.
#include "kernels/attention_forward.h"

namespace gpu {

namespace {

using Forward64 = ForwardShape<64, 64, 2, 4, 64, 256, true>;
using Forward128 = ForwardShape<128, 128, 1, 8, 64, 80, true>;
// With o and u of 128 columns, registers have no room for q.
using Forward128Training = ForwardShape<128, 128, 1, 4, 64, 80, false>;
using Forward256 = ForwardShape<256, 128, 1, 4, 32, 256, false>;
// o and u of 128 columns and the addresses of head size 256 together are a few registers too many.
using Forward256Training = ForwardShape<256, 64, 1, 4, 32, 256, false>;

template <class T, class Shape, bool training>
struct Accumulators {
  float o[Shape::rowTiles][Shape::values / 8][4];
  float u[training ? Shape::rowTiles : 1][training ? Shape::values / 8 : 1][4];
};

template <class T, class Shape, bool training>
__device__ __forceinline__ void storeAll(const ForwardWarp<T, Shape, training>& warp,
                                         Accumulators<T, Shape, training>& acc, int firstValue) {
  const AttentionProblem<T>& p = warp.p;
  // Counted again, for registers are short while the tiles go by.
  const int first = opaque(warp.first), rows = p.length - first < Shape::rows ? p.length - first : Shape::rows;
  const std::int64_t at = p.queryAt(warp.b, first, opaque(warp.h)) + firstValue;
#pragma unroll
  for (int i = 0; i < Shape::rowTiles; ++i) {
    float offset[2] = {};
    if constexpr (training) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float4 units = warp.units()[warp.rowOf(i, half) - warp.first];
        offset[half] = units.w;
      }
    }
    const OutputPlace place{at, warp.warpRow - warp.first + 16 * i, rows, p.headDim - firstValue};
    storeOutputs<training>(p, place, offset, acc.o[i], acc.u[training ? i : 0]);
  }
}

template <class T, class Shape, bool training>
__global__ void __launch_bounds__(Shape::threads, 1)
    forwardKernel(const __grid_constant__ AttentionProblem<T> p, int valueBlocks) {
  constexpr int columns = Shape::columns, values = Shape::values, rowTiles = Shape::rowTiles, keyTile = Shape::keyTile;
  // The longest rows start first.
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Shape::rows;
  const int h = static_cast<int>(blockIdx.y), kvHead = h / (p.heads / p.kvHeads);
  // Where a block has all columns of v, that is known to the compiler.
  if (columns == values) valueBlocks = 1;
  const int b = static_cast<int>(blockIdx.z) / valueBlocks;
  const int firstValue = static_cast<int>(blockIdx.z) % valueBlocks * values;
  const int rows = p.length - first < Shape::rows ? p.length - first : Shape::rows;

  const auto keyStage = [](int stage) {
    return Tile<T, columns>{sharedMemory<T>(Shape::queryBytes + (stage & 1) * Shape::keyBytes)};
  };
  const auto valueStage = [](int stage) {
    return Tile<T, values>{sharedMemory<T>(Shape::queryBytes + 2 * Shape::keyBytes + (stage & 1) * Shape::valueBytes)};
  };
  const int firstTile = p.start(b, first) / keyTile, lastTile = p.position(first + rows - 1) / keyTile;
  const auto thread = [] { return training ? opaque(static_cast<int>(threadIdx.x)) : static_cast<int>(threadIdx.x); };
  const auto fetchKeys = [&](int t) {
    keyStage(t).template copyFrom<keyTile, Shape::threads>(p.k + p.keyAt(b, t * keyTile, kvHead), p.keyStride(),
                                                           p.keys - t * keyTile, p.headDim, thread());
  };
  const auto fetchValues = [&](int t) {
    valueStage(t).template copyFrom<keyTile, Shape::threads>(p.v + p.keyAt(b, t * keyTile, kvHead) + firstValue,
                                                             p.keyStride(), p.keys - t * keyTile,
                                                             p.headDim - firstValue, thread());
  };
  ForwardWarp<T, Shape, training> warp(p, b, h, first);
  warp.queryTile().template copyFrom<Shape::rows, Shape::threads>(p.q + p.queryAt(b, first, h), p.queryStride(), rows,
                                                                  p.headDim);
  copyAsyncCommit();
  fetchKeys(firstTile);
  copyAsyncCommit();
  for (int r = static_cast<int>(threadIdx.x); r < Shape::rows; r += Shape::threads) {
    warp.starts()[r] = p.start(b, first + r < p.length ? first + r : p.length - 1);
  }
  if constexpr (Shape::resident) {
    copyAsyncWait<1>();
    __syncthreads();  // q is there for all
    warp.loadQuery();
    __syncthreads();  // the table takes its place
  }
  const bool sliced = warp.table().sliced();
  warp.table().fill(p, h, firstTile);

  // Weights can be zero only where tau is negative. An entry of `tops` is for 2^span key tiles.
  const bool mayVanish = p.tau != nullptr && p.tau[h] < 0;
  int span = 0;
  while ((lastTile >> span) - (firstTile >> span) >= Shape::tops) ++span;
  const auto tops =
      sharedMemory<float>(Shape::topsAt + threadIdx.x / 32 * Shape::tops * 4) + -(firstTile >> span);  // from tile 0

  for (int t = firstTile; t <= lastTile; ++t) {
    copyAsyncWait<0>();
    __syncthreads();  // tile t is there for all, and nobody reads the other stage any more
    if (t < lastTile) {
      fetchKeys(t + 1);
      copyAsyncCommit();
      if (sliced) warp.table().fill(p, h, t + 1);
    }
    if (warp.attends(t)) warp.sumTile(keyStage(t), t);
    if (mayVanish && (t == lastTile || (t + 1) >> span != t >> span)) {
      const float top = warpMost(warp.top);
      if (warp.lane == 0) tops[t >> span] = top;
      warp.top = lowest;
    }
  }
  warp.finishSums();
  float threshold = -INFINITY;
  if (mayVanish) {
    threshold = warp.threshold();
    __syncwarp();
  }
  // tops becomes 1 for tiles that pass 2 works on, 0 for the others.
  for (int e = (firstTile >> span) + warp.lane; e <= lastTile >> span; e += 32) {
    tops[e] = !mayVanish || tops[e] > threshold ? 1.0f : 0.0f;
  }
  if (p.lse != nullptr && firstValue == 0) warp.storeSums();
  if constexpr (training) warp.storeUnits();
  __syncthreads();
  fetchKeys(firstTile);
  fetchValues(firstTile);
  copyAsyncCommit();
  if (sliced) warp.table().fill(p, h, firstTile);
  Accumulators<T, Shape, training> acc;
#pragma unroll
  for (int i = 0; i < rowTiles; ++i) {
    clear(acc.o[i]);
    if constexpr (training) clear(acc.u[i]);
  }
  for (int t = firstTile; t <= lastTile; ++t) {
    copyAsyncWait<0>();
    __syncthreads();
    if (t < lastTile) {
      fetchKeys(t + 1);
      fetchValues(t + 1);
      copyAsyncCommit();
      if (sliced) warp.table().fill(p, h, t + 1);
    }
    if (!warp.attends(t) || tops[t >> span] == 0) continue;
    const int activity = warp.addTile(acc.o, acc.u, keyStage(t), valueStage(t), t);
    if constexpr (training && keyTile == activeSpan) warp.storeActivity(activity, t);
  }
  storeAll(warp, acc, firstValue);
}

template <class T, class Shape, bool training>
void launchForward(const AttentionProblem<T>& p, cudaStream_t stream) {
  const int valueBlocks = ceilDiv(p.headDim, Shape::values);
  const dim3 grid{static_cast<unsigned>(ceilDiv(p.length, Shape::rows)), static_cast<unsigned>(p.heads),
                  static_cast<unsigned>(p.batch * valueBlocks)};
  launch("attention", forwardKernel<T, Shape, training>, grid, dim3{Shape::threads}, Shape::sharedBytes, stream, p,
         valueBlocks);
}

template <class T, bool training>
void forwardOfSize(const AttentionProblem<T>& p, cudaStream_t stream) {
  if (p.headDim <= 64) return launchForward<T, Forward64, training>(p, stream);
  if (p.headDim <= 128) {
    return launchForward<T, std::conditional_t<training, Forward128Training, Forward128>, training>(p, stream);
  }
  launchForward<T, std::conditional_t<training, Forward256Training, Forward256>, training>(p, stream);
}

}  // namespace

template <class T>
void tensorForward(const AttentionProblem<T>& p, cudaStream_t stream) {
  p.u != nullptr ? forwardOfSize<T, true>(p, stream) : forwardOfSize<T, false>(p, stream);
}

template void tensorForward(const AttentionProblem<bf16>&, cudaStream_t);
template void tensorForward(const AttentionProblem<f16>&, cudaStream_t);

}  // namespace gpu
