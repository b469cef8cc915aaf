// Forward attention (spec §Forward) for sm_90a, head sizes up to 64 and, for inference, 128: products by wgmma, tiles by TMA. (In
// training, o and u of 128 columns leave no registers for what a warpgroup does with its scores.)
//
// A block owns 128 query rows of one head: two warpgroups of 64 rows each compute, and one thread of a third brings q, then the
// key tiles of pass 1 (lse), then key and value tiles of pass 2 (weights, o, u), through a ring of four slots. A slot is filled
// when its bytes have arrived at its barrier, and free when all eight computing warps have said so. The warpgroups share
// nothing but the ring and the bias, so one multiplies while the other takes exponentials; registers go from the third to them.
//
// Scores come as 64 rows by a tile of keys into registers; weights go from there into the product with v as its operand A, which
// runs on while the next scores are computed. Kinds of tiles, thresholds and what training leaves: as in attention_forward.cu,
// with tiles judged for 64 rows and never by 16 keys. History: docs/kernels/cuda.md.
#include "kernels/attention_hopper.h"

namespace gpu {

namespace {

using Hopper64 = HopperShape<64, 128, false>;
using Hopper64Training = HopperShape<64, 64, true>;
using Hopper128 = HopperShape<128, 64, false>;

struct HopperMaps {
  TensorMap q, k, v;
};
// Where a block works, and its key tiles.
struct HopperWork {
  int b, h, kvHead, first, firstTile, lastTile;

  __device__ __forceinline__ int tiles() const { return lastTile - firstTile + 1; }
  // Items of the ring: key tiles, then key and value tiles in turn.
  __device__ __forceinline__ int keysOf(int t) const { return tiles() + 2 * (t - firstTile); }
};

template <class T, class Shape>
__device__ __forceinline__ void bringTile(const TensorMap& map, const HopperWork& work, int t, int item) {
  using Slots = Ring<T, Shape>;
  if (item >= Shape::slots) awaitPhase(Slots::empty(item), Slots::parity(item - Shape::slots));
  arriveExpecting(Slots::full(item), Shape::slotBytes);
#pragma unroll
  for (int panel = 0; panel < Shape::panels; ++panel) {
    copyTile(Slots::at(item) + panel * Shape::panelBytes / 2, map, panel * panelColumns, work.kvHead,
             t * Shape::keyTile, work.b, Slots::full(item));
  }
}

// The thread that brings the tiles.
template <class T, class Shape>
__device__ __forceinline__ void bring(const HopperWork& work, const HopperMaps& maps) {
  using Slots = Ring<T, Shape>;
  arriveExpecting(Slots::query(), Shape::queryBytes);
#pragma unroll
  for (int part = 0; part < Shape::groups * Shape::panels; ++part) {
    copyTile(sharedMemory<T>(part * Shape::queryPanelBytes), maps.q, part % Shape::panels * panelColumns, work.h,
             work.first + part / Shape::panels * Shape::groupRows, work.b, Slots::query());
  }
  for (int t = work.firstTile; t <= work.lastTile; ++t) bringTile<T, Shape>(maps.k, work, t, t - work.firstTile);
  for (int t = work.firstTile; t <= work.lastTile; ++t) {
    bringTile<T, Shape>(maps.k, work, t, work.keysOf(t));
    bringTile<T, Shape>(maps.v, work, t, work.keysOf(t) + 1);
  }
}

// Which tiles hold a positive weight for some row of a warpgroup: by the maxima that pass 1 leaves. An entry, one for each
// warp, is for 2^span tiles.
template <class Shape>
struct Tops {
  int span, firstEntry;
  bool mayVanish;  // weights can be zero only where tau is negative

  __device__ __forceinline__ Tops(const HopperWork& work, bool vanish) : span(0), mayVanish(vanish) {
    while ((work.lastTile >> span) - (work.firstTile >> span) >= Shape::tops) ++span;
    firstEntry = work.firstTile >> span;
  }
  __device__ __forceinline__ Shared<float> entry(int e, int group) const {
    return sharedMemory<float>(Shape::topsAt) + ((e - firstEntry) * Shape::warps + 4 * group);
  }
  __device__ __forceinline__ bool ends(int t, const HopperWork& work) const {
    return mayVanish && (t == work.lastTile || (t + 1) >> span != t >> span);
  }
  __device__ __forceinline__ bool works(int t, int group) const {
    if (!mayVanish) return true;
    const float4 tops = *sharedCast<float4>(entry(t >> span, group));
    return tops.x + tops.y + tops.z + tops.w > 0;
  }
};

template <class T, class Shape>
__device__ __forceinline__ void compute(const AttentionProblem<T>& p, const HopperWork& work) {
  using Slots = Ring<T, Shape>;
  using Group = HopperGroup<T, Shape>;
  Group rows(p, work.b, work.h, work.first);
  rows.fillTable();
  namedBarrier<1, 128 * Shape::groups>();
  Tops<Shape> tops(work, p.tau != nullptr && p.tau[work.h] < 0);
  typename Group::Scores s;

  awaitPhase(Slots::query(), 0);
  for (int t = work.firstTile; t <= work.lastTile; ++t) {
    const int item = t - work.firstTile;
    Slots::await(item);
    const bool attends = rows.attends(t);
    if (attends) {
      rows.multiplyKeys(s, Slots::at(item));
      awaitProducts<0>(s);
    }
    Slots::release(item, rows.lane);
    if (attends) rows.sumTile(s, t);
    if (tops.ends(t, work)) {
      const float top = warpMost(rows.top);
      if (rows.lane == 0) tops.entry(t >> tops.span, rows.group)[rows.warp] = top;
      rows.top = lowest;
    }
  }
  finishRows(rows.most, rows.lse, p.beside(work.h, log2e));
  if (tops.mayVanish) {
    const float threshold = thresholdOf(rows.lse, rows.offset);
    __syncwarp();
    // Maxima become 1 for tiles that pass 2 works on, 0 for the others.
    for (int e = tops.firstEntry + rows.lane; e <= work.lastTile >> tops.span; e += 32) {
      const auto top = tops.entry(e, rows.group) + rows.warp;
      *top = *top > threshold ? 1.0f : 0.0f;
    }
  }
  rows.storeSums();
  if (rows.group == 0) {
    namedBarrier<2, 128>();
  } else {
    namedBarrier<3, 128>();
  }

  float o[Shape::columns / 8][4], u[Shape::training ? Shape::columns / 8 : 1][4];
  typename Group::Weights w, m;
  bool some = false;
  int values = -1;  // the item that products in flight read, or -1
  const auto await = [&](auto&... scores) {
    if constexpr (Shape::training) {
      awaitProducts<0>(scores..., o, u, w, m);
    } else {
      awaitProducts<0>(scores..., o, w);
    }
  };
  const auto finish = [&] {
    await();
    Slots::release(values, rows.lane);
    values = -1;
  };
  for (int t = work.firstTile; t <= work.lastTile; ++t) {
    const int item = work.keysOf(t);
    Slots::await(item);
    if (!rows.attends(t) || !tops.works(t, rows.group)) {
      if (values >= 0) finish();
      Slots::release(item, rows.lane);
      Slots::await(item + 1);
      Slots::release(item + 1, rows.lane);
      continue;
    }
    rows.multiplyKeys(s, Slots::at(item));
    await(s);
    if (values >= 0) Slots::release(values, rows.lane);
    Slots::release(item, rows.lane);
    const int activity = rows.weigh(s, w, m, t);
    if constexpr (Shape::training) rows.storeActivity(activity, t);
    Slots::await(item + 1);
    rows.multiplyValues(o, u, w, m, Slots::at(item + 1), some);
    some = true;
    values = item + 1;
  }
  await();
  if (!some) {
    clear(o);
    clear(u);
  }
  const int count = p.length - work.first < Shape::rows ? p.length - work.first : Shape::rows;
  const OutputPlace place{p.queryAt(work.b, work.first, work.h), Shape::groupRows * rows.group + 16 * rows.warp, count,
                          p.headDim};
  storeOutputs<Shape::training>(p, place, rows.offset[0], o, u);
}

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::threads, 1)
    hopperForwardKernel(const __grid_constant__ AttentionProblem<T> p, const __grid_constant__ HopperMaps maps) {
  HopperWork work;
  // The longest rows start first.
  work.first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Shape::rows;
  work.h = static_cast<int>(blockIdx.y);
  work.kvHead = work.h / (p.heads / p.kvHeads);
  work.b = static_cast<int>(blockIdx.z);
  const int lastRow = work.first + Shape::rows < p.length ? work.first + Shape::rows - 1 : p.length - 1;
  work.firstTile = p.start(work.b, work.first) / Shape::keyTile;
  work.lastTile = p.position(lastRow) / Shape::keyTile;
  if (threadIdx.x == 0) Ring<T, Shape>::init();
  __syncthreads();
  // The same for a warp, as the compiler must know before it gives the parts different registers.
  if (shuffle(static_cast<int>(threadIdx.x) / 128, 0) == 0) {
    keepRegisters<24>();
    if (threadIdx.x == 0) bring<T, Shape>(work, maps);
  } else {
    takeRegisters<240>();
    compute<T, Shape>(p, work);
  }
}

template <class T, class Shape>
void launchHopper(const AttentionProblem<T>& p, DType dtype, cudaStream_t stream) {
  const auto map = [&](const T* data, int rows, int capacity, int heads, int box) {
    return tensorMap({data, dtype, p.batch, rows, capacity, heads, p.headDim}, box);
  };
  const HopperMaps maps{map(p.q, p.length, p.length, p.heads, Shape::groupRows),
                        map(p.k, p.keys, p.capacity, p.kvHeads, Shape::keyTile),
                        map(p.v, p.keys, p.capacity, p.kvHeads, Shape::keyTile)};
  const dim3 grid{static_cast<unsigned>(ceilDiv(p.length, Shape::rows)), static_cast<unsigned>(p.heads),
                  static_cast<unsigned>(p.batch)};
  launch("attention (hopper)", hopperForwardKernel<T, Shape>, grid, dim3{Shape::threads}, Shape::sharedBytes, stream, p,
         maps);
}

}  // namespace

template <class T>
void hopperForward(const AttentionProblem<T>& p, cudaStream_t stream) {
  const DType dtype = std::is_same_v<T, bf16> ? DType::bf16 : DType::f16;
  if (p.headDim > 64) return launchHopper<T, Hopper128>(p, dtype, stream);
  p.u != nullptr ? launchHopper<T, Hopper64Training>(p, dtype, stream) : launchHopper<T, Hopper64>(p, dtype, stream);
}

template void hopperForward(const AttentionProblem<bf16>&, cudaStream_t);
template void hopperForward(const AttentionProblem<f16>&, cudaStream_t);

}  // namespace gpu
