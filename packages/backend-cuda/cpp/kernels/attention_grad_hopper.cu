// Backward attention (spec §Backward) for sm_90a, head sizes up to 64: the five products of attention_grad.cu by wgmma, their operands by TMA.
//
// A block owns 128 keys and goes over the queries that attend them, 64 at a time: a step. Two warpgroups of 64 keys each hold dk
// and dv. Their s and g come transposed (rows are keys), so that w and ds are operand A, from registers, of the products for dv
// and dk. ds also goes to shared memory, in one of two places in turn, from where a third warpgroup takes dq's part of these 128
// keys, and dbias its diagonals. Of the fourth, one warp brings q, dO, what rows need and the bias by distance, some steps
// ahead; one thread waits for turns at dq's sums and another passes them on, so that nobody else waits for the other blocks.
// All of them meet at barriers of their own alone, so one multiplies while another takes exponentials.
//
// dq's sums, turns and tickets are those of attention_grad.cu: same order, same bits. History: docs/kernels/cuda.md.
#include "kernels/attention_grad_hopper.h"

namespace gpu {

namespace {

// Of 512 registers that four threads have, those who bring, take dq, and take dk and dv have:
using HopperGrad64 = HopperGradShape<32, 4, 40, 120, 176>;

struct GradMaps {
  TensorMap q, k, v, dout;
};

// The warp that brings what a step needs.
template <class T, class Shape>
__device__ __forceinline__ void bring(const AttentionProblem<T>& p, const GradWork& work, int steps,
                                      const GradMaps& maps) {
  using Rings = GradRings<Shape>;
  const int lane = static_cast<int>(threadIdx.x);
  if (lane == 0) {
    const Phases keys = Rings::Keys::at(0);
    arriveExpecting(keys, 2 * Shape::keyBytes);
    copyTile(sharedMemory<T>(0), maps.k, 0, work.kvHead, work.first, work.b, keys);
    copyTile(sharedMemory<T>(Shape::valuesAt), maps.v, 0, work.kvHead, work.first, work.b, keys);
  }
  GradPlace place;
  for (int i = 0; i < steps; ++i, place.next(work)) {
    const GradStep<T, Shape> at{i};
    const int h = place.headOf(work), query = place.tileOf(work) * Shape::step;
    if (i >= Shape::stages) Rings::Empty::await(i - Shape::stages);
    const int furthest = p.position(query) - work.first - (Shape::rows - 1);
    for (int e = lane; e < Shape::distances; e += 32) at.bias()[e] = p.biasAt(h, furthest + e) * log2e;
    const Phases full = Rings::Full::at(i);
    if (lane != 0) {
      arrive(full);
      continue;
    }
    arriveExpecting(full, 2 * Shape::stepBytes + Shape::step * 16);
    copyTile(at.queries(), maps.q, 0, h, query, work.b, full);
    copyTile(at.gradients(), maps.dout, 0, h, query, work.b, full);
    copyRow(at.terms(), p.terms + p.termsAt(work.b, h, query), Shape::step, full);
  }
}

// The thread that waits for turns, at most two steps ahead of those that are passed on.
template <class T, class Shape>
__device__ __forceinline__ void awaitTurns(const AttentionProblem<T>& p, const GradWork& work, int steps) {
  using Rings = GradRings<Shape>;
  GradPlace place;
  for (int i = 0; i < steps; ++i, place.next(work)) {
    const HopperGradTurn turn = turnOf(p, work, place);
    if (i >= 2) Rings::Passed::await(i - 2);
    awaitTurnInline(p.turns + turn.at, turn.order);
    Rings::Turn::arriveAlone(i);
  }
}
// The thread that passes them on.
template <class T, class Shape>
__device__ __forceinline__ void passTurns(const AttentionProblem<T>& p, const GradWork& work, int steps) {
  using Rings = GradRings<Shape>;
  GradPlace place;
  for (int i = 0; i < steps; ++i, place.next(work)) {
    const HopperGradTurn turn = turnOf(p, work, place);
    Rings::Added::await(i);
    Rings::Passed::arriveAlone(i);
    if (!turn.last) passTurn(p.turns + turn.at, turn.order + 1);
  }
}

template <class T, class Shape>
__device__ __forceinline__ void computeQueries(const AttentionProblem<T>& p, const GradWork& work, int steps) {
  using Rings = GradRings<Shape>;
  const QueryGroup<T, Shape> queries(p, work);
  float dq[8][4];
  float4 before[8];
  Rings::Keys::await(0);
  GradPlace place;
  for (int i = 0; i < steps; ++i, place.next(work)) {
    const GradStep<T, Shape> at{i};
    const HopperGradTurn turn = turnOf(p, work, place);
    const int h = place.headOf(work), query = place.tileOf(work) * Shape::step;
    const bool near = queries.near(query);
    Rings::Turn::await(i);
    const auto loadSums = [&] {
      const float4* from = queries.sums(turn);
#pragma unroll
      for (int n = 0; n < 8 && turn.order > 0; ++n) before[n] = loadInTurn(p.turns + turn.at, from + 32 * n);
    };
    // Before ds is there, for L2 takes its time; but after diagonals, which need the registers.
    if (!near) loadSums();
    Rings::Pairs::await(i);
    queries.multiplyQueries(dq, at);
    if (near) {
      queries.addDiagonals(at, h, query);
      loadSums();
    }
    awaitProducts<0>(dq);
    Rings::Taken::arriveAsWarp(i, queries.lane);
    if (turn.order > 0) addSums(dq, before);
    queries.storeQueries(dq, turn, h, query);
    Rings::Added::arriveAsWarp(i, queries.lane);
  }
}

template <class T, class Shape>
__device__ __forceinline__ void computeKeys(const AttentionProblem<T>& p, const GradWork& work, int steps) {
  using Rings = GradRings<Shape>;
  using Group = KeyGroup<T, Shape>;
  const Group keys(p, work);
  typename Group::Gradient dk, dv;
  typename Group::Scores s, g;
  typename Group::Operands ds, w;
  bool some = false;
  // The step whose products with q and dO may run on, or -1.
  int running = -1;
  const auto finish = [&] {
    awaitProducts<0>(dk, dv, ds, w);
    Rings::Empty::arriveAsWarp(running, keys.lane);
    running = -1;
  };
  Rings::Keys::await(0);
  GradPlace place;
  for (int i = 0; i < steps; ++i, place.next(work)) {
    const GradStep<T, Shape> at{i};
    const int query = place.tileOf(work) * Shape::step;
    Rings::Full::await(i);
    // Before s and g begin, which take the registers of ds and w.
    if (running >= 0) finish();
    if (!keys.works(at, query)) {
      if (i >= 2) Rings::Taken::await(i - 2);
#pragma unroll
      for (int e = 0; e < 4 * Group::parts; ++e) ds[e / 4][e % 4] = 0;
#pragma unroll
      for (int column = 0; column < Shape::step; column += Shape::piece) keys.storePairs(ds, at, column);
      proxyFence();
      Rings::Pairs::arriveAsWarp(i, keys.lane);
      Rings::Empty::arriveAsWarp(i, keys.lane);
      continue;
    }
#pragma unroll 1
    for (int column = 0; column < Shape::step; column += Shape::piece) {
      if (column > 0) awaitProducts<0>(dk, dv, ds, w);
      keys.multiplyPairs(s, g, at, column);
      awaitProducts<0>(s, g);
      keys.pairsOf(s, g, at, query, column);
#pragma unroll
      for (int k = 0; k < Group::parts; ++k) {
        packA<T>(ds[k], s[k]);
        packWeights<T>(w[k], g[k]);  // max(w, 0) comes with the rounding
      }
      if (column == 0 && i >= 2) Rings::Taken::await(i - 2);
      keys.storePairs(ds, at, column);
      if (column + Shape::piece == Shape::step) {
        proxyFence();
        Rings::Pairs::arriveAsWarp(i, keys.lane);
      }
      keys.multiplyGrads(dk, dv, ds, w, at, column, some);
      some = true;
    }
    running = i;
  }
  awaitProducts<0>(dk, dv, ds, w);
  if (!some) {
    clear(dk);
    clear(dv);
  }
  const std::int64_t firstKey = p.keyAt(work.b, work.first, work.kvHead);
  storeRows(p.dk + firstKey, p.keyStride(), keys.warpRow(), keys.rows, p.headDim, dk, p.scale);
  storeRows(p.dv + firstKey, p.keyStride(), keys.warpRow(), keys.rows, p.headDim, dv, 1.0f);
}

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::threads, 1)
    hopperGradKernel(const __grid_constant__ AttentionProblem<T> p, const __grid_constant__ GradMaps maps) {
  const auto notes = sharedMemory<int>(Shape::notesAt);
  if (threadIdx.x == 0) {
    const GradWork taken = takeWork<Shape::rows, Shape::step>(p);
    const int each[] = {taken.first, taken.b, taken.kvHead, taken.firstTile, taken.tiles, taken.firstHead};
    for (int i = 0; i < 6; ++i) notes[i] = each[i];
    GradRings<Shape>::init();
  }
  __syncthreads();
  const GradWork work{notes[0], notes[1], notes[2], notes[3], notes[4], notes[5]};
  const int steps = work.tiles * (p.heads / p.kvHeads);
  // The same for a warp, as the compiler must know before it gives the parts different registers.
  const int group = shuffle(static_cast<int>(threadIdx.x) / 128, 0);
  if (group == 0) {
    keepRegisters<Shape::bringing>();
    const int warp = shuffle(static_cast<int>(threadIdx.x) / 32, 0);
    if (warp == 0) bring<T, Shape>(p, work, steps, maps);
    if (threadIdx.x == 32) awaitTurns<T, Shape>(p, work, steps);
    if (threadIdx.x == 64) passTurns<T, Shape>(p, work, steps);
  } else if (group == 1) {
    keepRegisters<Shape::ofQueries>();
    computeQueries<T, Shape>(p, work, steps);
  } else {
    takeRegisters<Shape::ofKeys>();
    computeKeys<T, Shape>(p, work, steps);
  }
}

template <class T, class Shape>
void launchGrad(const AttentionProblem<T>& p, cudaStream_t stream) {
  const DType dtype = std::is_same_v<T, bf16> ? DType::bf16 : DType::f16;
  const auto queries = [&](const T* data) {
    return tensorMap({data, dtype, p.batch, p.length, p.length, p.heads, p.headDim}, Shape::step);
  };
  const auto keys = [&](const T* data) {
    return tensorMap({data, dtype, p.batch, p.keys, p.capacity, p.kvHeads, p.headDim}, Shape::rows);
  };
  const GradMaps maps{queries(p.q), keys(p.k), keys(p.v), queries(p.dout)};
  const std::int64_t blocks = static_cast<std::int64_t>(ceilDiv(p.keys, Shape::rows)) * p.kvHeads * p.batch;
  launch("attentionGrad (hopper)", hopperGradKernel<T, Shape>, dim3{gridSize(blocks, 1)}, dim3{Shape::threads},
         Shape::sharedBytes, stream, p, maps);
}

}  // namespace

template <class T>
void hopperGrad(const AttentionProblem<T>& p, cudaStream_t stream) {
  launchGrad<T, HopperGrad64>(p, stream);
}

template void hopperGrad(const AttentionProblem<bf16>&, cudaStream_t);
template void hopperGrad(const AttentionProblem<f16>&, cudaStream_t);

}  // namespace gpu
