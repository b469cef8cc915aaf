// Forward attention on tensor cores: two passes over the keys (spec §Exact algorithms). The ReLU needs the final lse,
// so pass 1 streams the keys for lse alone, and pass 2 recomputes the scores, 16 keys at a time, turns them into weights
// (and, for training, the 0/1 matrix m) in registers, and multiplies them with the values.
//
// Pass 1 also keeps the largest score of a warp's rows per key tile. Where that is below what the smallest weight needs
// (lse_i + log(-tau / n_i), the least of the warp's rows), pass 2 leaves out the whole tile, q . k too. Counted for tiles
// that stay: a maximum per 8 scores and a warp's redux per 64 keys in pass 1, a comparison per 64 keys in pass 2. Rows of
// a warp are neighbours, so their thresholds are close; a threshold per row would cost a vote per tile.
//
// A warp owns whole rows, so lse stays within a quad of lanes. Scores are kept in base 2: exp2 is the instruction.
#include "kernels/attention.h"
#include "kernels/tiles.h"

namespace gpu {

namespace {

// Columns: padded head size. Values: columns of v that a block works on; beyond 128 the output is split over blocks,
// which repeat the scores, since the accumulators of o and u for 256 columns do not fit the registers.
template <int columns_, int values_, int rowTiles_, int warps_, int keyTile_, int tops_>
struct ForwardShape {
  static constexpr int columns = columns_, values = values_, rowTiles = rowTiles_, warps = warps_, keyTile = keyTile_,
                       tops = tops_;
  static constexpr int rows = 16 * rowTiles * warps, threads = 32 * warps;
  static constexpr std::size_t queryBytes = static_cast<std::size_t>(rows) * columns * 2,
                               keyBytes = static_cast<std::size_t>(keyTile) * columns * 2,
                               valueBytes = static_cast<std::size_t>(keyTile) * values * 2;
  // Maxima of pass 1: as many per warp as shared memory has room for. Longer rows keep one for 2, 4, ... key tiles.
  static constexpr std::size_t topsAt = queryBytes + 2 * (keyBytes + valueBytes),
                               startsAt = topsAt + static_cast<std::size_t>(warps) * tops * 4,
                               sharedBytes = startsAt + static_cast<std::size_t>(rows) * 4;
  static_assert(sharedBytes <= 99 * 1024, "fits every architecture");
};
using Forward64 = ForwardShape<64, 64, 2, 4, 64, 256>;
using Forward128 = ForwardShape<128, 128, 1, 8, 64, 80>;
using Forward256 = ForwardShape<256, 128, 1, 4, 32, 256>;
// o and u of 128 columns and the addresses of head size 256 together are a few registers too many.
using Forward256Training = ForwardShape<256, 64, 1, 4, 32, 256>;

// Bits of a pair of 0/1 in T.
template <class T>
__device__ __forceinline__ std::uint32_t onePair(bool low, bool high);
template <>
__device__ __forceinline__ std::uint32_t onePair<bf16>(bool low, bool high) {
  return (low ? 0x3f80u : 0u) | (high ? 0x3f800000u : 0u);
}
template <>
__device__ __forceinline__ std::uint32_t onePair<f16>(bool low, bool high) {
  return (low ? 0x3c00u : 0u) | (high ? 0x3c000000u : 0u);
}

// 1 + tau / n, the weight of p = 1, where it is positive.
__device__ __forceinline__ float unitOf(float offset) { return offset > -1 ? 1 + offset : 1.0f; }

template <class T, class Shape, bool training>
__global__ void __launch_bounds__(Shape::threads, 1)
    forwardKernel(const __grid_constant__ AttentionProblem<T> p, int valueBlocks) {
  constexpr int columns = Shape::columns, values = Shape::values, rowTiles = Shape::rowTiles, keyTile = Shape::keyTile;
  constexpr int valueTiles = values / 8;
  // The longest rows start first.
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Shape::rows;
  const int h = static_cast<int>(blockIdx.y), kvHead = h / (p.heads / p.kvHeads);
  const int b = static_cast<int>(blockIdx.z) / valueBlocks;
  const int firstValue = static_cast<int>(blockIdx.z) % valueBlocks * values;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warpRow = first + static_cast<int>(threadIdx.x) / 32 * 16 * rowTiles;
  const int rows = p.length - first < Shape::rows ? p.length - first : Shape::rows;

  const Tile<T, columns> queryTile{sharedMemory<T>(0)};
  const auto keyStage = [](int stage) {
    return Tile<T, columns>{sharedMemory<T>(Shape::queryBytes + (stage & 1) * Shape::keyBytes)};
  };
  const auto valueStage = [](int stage) {
    return Tile<T, values>{sharedMemory<T>(Shape::queryBytes + 2 * Shape::keyBytes + (stage & 1) * Shape::valueBytes)};
  };

  const int firstTile = p.start(b, first) / keyTile, lastTile = p.position(first + rows - 1) / keyTile;
  const auto fetchKeys = [&](int t) {
    keyStage(t).template copyFrom<keyTile, Shape::threads>(p.k + p.keyAt(b, t * keyTile, kvHead), p.keyStride(),
                                                           p.keys - t * keyTile, p.headDim);
  };
  const auto fetchValues = [&](int t) {
    valueStage(t).template copyFrom<keyTile, Shape::threads>(p.v + p.keyAt(b, t * keyTile, kvHead) + firstValue,
                                                             p.keyStride(), p.keys - t * keyTile,
                                                             p.headDim - firstValue);
  };
  queryTile.template copyFrom<Shape::rows, Shape::threads>(p.q + p.queryAt(b, first, h), p.queryStride(), rows,
                                                           p.headDim);
  fetchKeys(firstTile);
  copyAsyncCommit();

  // This lane's rows: lane / 4 and + 8 of each row tile. A row that does not exist is like the last one; nobody sees it.
  // Starts are needed where a tile is not plain, and wait in shared memory.
  const int ownPosition = p.position(warpRow + lane / 4);
  const auto starts = sharedMemory<int>(Shape::startsAt);
  for (int r = static_cast<int>(threadIdx.x); r < Shape::rows; r += Shape::threads) {
    starts[r] = p.start(b, first + r < p.length ? first + r : p.length - 1);
  }
  float offset[rowTiles][2];
#pragma unroll
  for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int own = warpRow + 16 * i + 8 * half + lane / 4, r = own < p.length ? own : p.length - 1;
      offset[i][half] = p.offset(b, h, r);
    }
  }
  // What the warp as a whole attends: tiles outside are skipped, tiles inside need no masks.
  const bool warpWorks = warpRow < p.length;
  const int warpEnd = warpRow + 16 * rowTiles - 1 < p.length ? warpRow + 16 * rowTiles - 1 : p.length - 1;
  const int firstPosition = p.position(warpRow), lastPosition = p.position(warpEnd);
  const int firstStart = warpWorks ? p.start(b, warpRow) : 0, lastStart = warpWorks ? p.start(b, warpEnd) : 0;
  const auto attends = [&](int t) {
    return warpWorks && t * keyTile <= lastPosition && t * keyTile + keyTile > firstStart;
  };
  // All rows attend all keys of the tile: none begins later, and all are at least the bias window (0 without) apart.
  const auto plain = [&](int t) {
    return warpEnd - warpRow == 16 * rowTiles - 1 && t * keyTile >= lastStart &&
           firstPosition - (t * keyTile + keyTile - 1) >= p.window;
  };

  const float scale = p.scale * log2e;
  // 16 scores per row for keys key.. (tile row `row`), masked and with bias unless the tile is plain.
  const auto scores = [&](float (&s)[rowTiles][2][4], const Tile<T, columns>& keys, int row, int key, bool plainTile) {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) clear(s[i]);
#pragma unroll
    for (int d = 0; d < columns; d += 16) {
      std::uint32_t bKeys[4];
      keys.loadB(bKeys, row, d);
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        std::uint32_t a[4];
        queryTile.loadA(a, warpRow - first + 16 * i, d);
        multiplyAdd<T>(s[i][0], a, bKeys[0], bKeys[1]);
        multiplyAdd<T>(s[i][1], a, bKeys[2], bKeys[3]);
      }
    }
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float x = s[i][n][e] * scale;
          if (!plainTile) {
            const int at = key + 8 * n + 2 * (lane % 4) + e % 2;
            const int distance = ownPosition + 16 * i + 8 * (e / 2) - at;
            const bool attended = at >= starts[warpRow - first + 16 * i + 8 * (e / 2) + lane / 4] && distance >= 0;
            x = attended ? x + p.biasAt(h, distance) * log2e : lowest;
          }
          s[i][n][e] = x;
        }
      }
    }
  };

  // Weights can be zero only where tau is negative. An entry of `tops` is for 2^span key tiles.
  const bool mayVanish = p.tau != nullptr && p.tau[h] < 0;
  int span = 0;
  while ((lastTile >> span) - (firstTile >> span) >= Shape::tops) ++span;
  const auto tops =
      sharedMemory<float>(Shape::topsAt + threadIdx.x / 32 * Shape::tops * 4) + -(firstTile >> span);  // from tile 0

  // Pass 1: each lane keeps maximum and sum of its own columns; the quad of a row meets once, at the end.
  float most[rowTiles][2], lse[rowTiles][2], top = lowest;
#pragma unroll
  for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      most[i][half] = lowest;
      lse[i][half] = 0;
    }
  }
  for (int t = firstTile; t <= lastTile; ++t) {
    copyAsyncWait<0>();
    __syncthreads();  // tile t is there for all, and nobody reads the other stage any more
    if (t < lastTile) {
      fetchKeys(t + 1);
      copyAsyncCommit();
    }
    const bool plainTile = plain(t);
#pragma unroll 1
    for (int row = 0; row < keyTile && attends(t); row += 32) {
      float s[2][rowTiles][2][4];
      scores(s[0], keyStage(t), row, t * keyTile + row, plainTile);
      scores(s[1], keyStage(t), row + 16, t * keyTile + row + 16, plainTile);
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float next = s[0][i][0][2 * half];
#pragma unroll
          for (int e = 1; e < 8; ++e) next = fmaxf(next, s[e / 4][i][e / 2 % 2][2 * half + e % 2]);
          top = fmaxf(top, next);
          next = fmaxf(most[i][half], next);
          float total = lse[i][half] * exp2Fast(most[i][half] - next);
#pragma unroll
          for (int e = 0; e < 8; ++e) total += exp2Fast(s[e / 4][i][e / 2 % 2][2 * half + e % 2] - next);
          most[i][half] = next;
          lse[i][half] = total;
        }
      }
    }
    if (mayVanish && (t == lastTile || (t + 1) >> span != t >> span)) {
      top = warpMost(top);
      if (lane == 0) tops[t >> span] = top;
      top = lowest;
    }
  }
#pragma unroll
  for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float highest = fmaxf(most[i][half], shuffleXor(most[i][half], 1));
      highest = fmaxf(highest, shuffleXor(highest, 2));
      float total = lse[i][half] * exp2Fast(most[i][half] - highest);
      total += shuffleXor(total, 1);
      total += shuffleXor(total, 2);
      lse[i][half] = highest + log2Fast(total);
    }
  }
  // No score up to here gives a positive weight in any of the warp's rows. The margin is for what rounding adds to s - lse,
  // exp2 and this threshold itself.
  // tops becomes 1 for tiles that pass 2 works on, 0 for the others.
  float threshold = 2 * lowest;
  if (mayVanish) {
    threshold = -lowest;
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float least = lse[i][half] + log2Fast(-offset[i][half]) - (1e-5f + 1e-6f * fabsf(lse[i][half]));
        threshold = fminf(threshold, least);
      }
    }
    threshold = -warpMost(-threshold);
    __syncwarp();
  }
  for (int e = (firstTile >> span) + lane; e <= lastTile >> span; e += 32) {
    tops[e] = !mayVanish || tops[e] > threshold ? 1.0f : 0.0f;
  }

  // Pass 2: o = sum w v; in training also u = sum m v and a = sum m p v = o - (tau / n) u. There, w is rounded to T in
  // units of 1 + tau / n, the weight that p = 1 has: a row with one dominant key then has a = v exactly, and in the
  // gradient g - delta vanishes as it should.
  if (p.lse != nullptr && firstValue == 0 && lane % 4 == 0) {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = warpRow + 16 * i + 8 * half + lane / 4;
        if (r < p.length) p.lse[p.rowAt(b, h, r)] = lse[i][half];
      }
    }
  }
  float perUnit[training ? rowTiles : 1][2];
  if constexpr (training) {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) perUnit[i][half] = 1 / unitOf(offset[i][half]);
    }
  }
  __syncthreads();
  fetchKeys(firstTile);
  fetchValues(firstTile);
  copyAsyncCommit();
  float o[rowTiles][valueTiles][4], u[training ? rowTiles : 1][training ? valueTiles : 1][4];
#pragma unroll
  for (int i = 0; i < rowTiles; ++i) clear(o[i]);
  if constexpr (training) {
#pragma unroll
    for (int i = 0; i < rowTiles; ++i) clear(u[i]);
  }
  for (int t = firstTile; t <= lastTile; ++t) {
    copyAsyncWait<0>();
    __syncthreads();
    if (t < lastTile) {
      fetchKeys(t + 1);
      fetchValues(t + 1);
      copyAsyncCommit();
    }
    if (!attends(t) || tops[t >> span] == 0) continue;
    const bool plainTile = plain(t);
    int activity = 0;  // bit 8 i + c: row tile i, keys 16 c
#pragma unroll 1
    for (int row = 0; row < keyTile; row += 16) {
      float s[rowTiles][2][4];
      scores(s, keyStage(t), row, t * keyTile + row, plainTile);
      std::uint32_t w[rowTiles][4], m[training ? rowTiles : 1][4];
      bool anyRow = false;
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        bool any = false;
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          bool active[4];
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            // w = max(p + tau / n, 0); a key that is not attended weighs 0 even when tau is positive.
            const float weight = exp2Fast(s[i][n][e] - lse[i][e / 2]) + offset[i][e / 2];
            active[e] = weight > 0 && (plainTile || s[i][n][e] > lowest);
            s[i][n][e] = active[e] ? (training ? weight * perUnit[i][e / 2] : weight) : 0.0f;
            any = any || active[e];
          }
          if constexpr (training) {
            m[i][2 * n] = onePair<T>(active[0], active[1]);
            m[i][2 * n + 1] = onePair<T>(active[2], active[3]);
          }
        }
        packA<T>(w[i], s[i]);
        any = warpAny(any);
        activity |= (any ? 1 : 0) << (8 * i + row / activeKeys);
        anyRow = anyRow || any;
      }
      // Where no weight of the warp is positive, nothing is added: a vote saves the products.
      if (!anyRow) continue;
#pragma unroll
      for (int n = 0; n < valueTiles / 2; ++n) {
        std::uint32_t bValues[4];
        valueStage(t).loadBTransposed(bValues, row, 16 * n);
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
    if constexpr (training && keyTile == activeSpan) {
      if (p.activity == nullptr || lane != 0) continue;
#pragma unroll
      for (int i = 0; i < rowTiles; ++i) {
        const int group = warpRow / activeRows + i;
        if (group * activeRows < p.length) {
          p.activity[p.activityAt(b, h, group, t)] = static_cast<std::uint8_t>(activity >> 8 * i & 0xff);
        }
      }
    }
  }

  const std::int64_t at = p.queryAt(b, first, h) + firstValue;
#pragma unroll
  for (int i = 0; i < rowTiles; ++i) {
    const int row = warpRow - first + 16 * i;
    if constexpr (training) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float unit = unitOf(offset[i][half]);
#pragma unroll
        for (int n = 0; n < valueTiles; ++n) {
          o[i][n][2 * half] *= unit;
          o[i][n][2 * half + 1] *= unit;
        }
      }
    }
    storeRows(p.out + at, p.queryStride(), row, rows, p.headDim - firstValue, o[i], 1.0f);
    if constexpr (training) {
      storeRows(p.u + at, p.queryStride(), row, rows, p.headDim - firstValue, u[i], 1.0f);
#pragma unroll
      for (int n = 0; n < valueTiles; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) o[i][n][e] -= offset[i][e / 2] * u[i][n][e];
      }
      storeRows(p.a + at, p.queryStride(), row, rows, p.headDim - firstValue, o[i], 1.0f);
    }
  }
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
  if (p.headDim <= 128) return launchForward<T, Forward128, training>(p, stream);
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
