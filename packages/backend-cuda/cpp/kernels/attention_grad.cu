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
  using Diagonals = PairDiagonals<rows, step>;
  static constexpr int pairRows = Diagonals::pairRows;
  static constexpr std::size_t pairBytes = static_cast<std::size_t>(rows) * step * 2;
  // Keys, values, stages of queries and dO, ds where it fits the 99 KiB of sm_86, 89 and 120 (else it takes the place of the
  // step's dO, once dv is done with it), then per stage 16 bytes per query, activity, the bias by distance and notes, and
  // those of the block. dbias's sums take the place of the step's queries, once dk is done with them.
  static constexpr bool ownPairs = columns == 64;
  static constexpr std::size_t stagesAt = 2 * rowBytes, pairsAt = stagesAt + 2 * stages * stepBytes,
                               rowsAt = pairsAt + (ownPairs ? pairBytes : 0),
                               activeAt = rowsAt + static_cast<std::size_t>(stages) * step * 16,
                               biasAt = activeAt + static_cast<std::size_t>(stages) * queryTiles * 4,
                               notesAt = biasAt + static_cast<std::size_t>(stages) * distances * 4,
                               workAt = notesAt + stages * 32, sharedBytes = workAt + 32;
  static_assert(ownPairs || pairBytes <= stepBytes, "ds fits the place of dO");
  static_assert(Diagonals::bytes <= stepBytes, "dbias's sums fit the place of the queries");
  static_assert(sharedBytes <= 99 * 1024, "fits every architecture");
};
using Grad64 = GradShape<64, 64, true>;
using Grad128 = GradShape<128, 32, false>;

// Where step i finds its things.
template <class T, class Shape>
struct GradStage {
  int i;

  __device__ __forceinline__ unsigned slot() const { return static_cast<unsigned>(i % Shape::stages); }
  __device__ __forceinline__ unsigned rowsAt(unsigned which) const {
    return Shape::stagesAt + (slot() * 2 + which) * Shape::stepBytes;
  }
  __device__ __forceinline__ Tile<T, Shape::columns> queries() const { return {sharedMemory<T>(rowsAt(0))}; }
  __device__ __forceinline__ Tile<T, Shape::columns> gradients() const { return {sharedMemory<T>(rowsAt(1))}; }
  __device__ __forceinline__ Tile<T, 64> pairs() const {
    return {sharedMemory<T>(Shape::ownPairs ? Shape::pairsAt : rowsAt(1))};
  }
  __device__ __forceinline__ Shared<float> diagonals() const { return sharedMemory<float>(rowsAt(0)); }
  __device__ __forceinline__ Shared<float4> terms() const {
    return sharedMemory<float4>(Shape::rowsAt + slot() * Shape::step * 16);
  }
  __device__ __forceinline__ Shared<int> active() const {
    return sharedMemory<int>(Shape::activeAt + slot() * Shape::queryTiles * 4);
  }
  // By query minus key, from 1 - rows.
  __device__ __forceinline__ Shared<float> bias() const {
    return sharedMemory<float>(Shape::biasAt + slot() * Shape::distances * 4);
  }
  // Its turn at dq's sums (which, and its number), whether that is the last, and whether it has come; then the head.
  __device__ __forceinline__ Shared<int> notes() const { return sharedMemory<int>(Shape::notesAt + slot() * 32); }
};

// The threads of a block, each with its part of what the block makes.
template <class T, class Shape>
struct GradThread {
  static constexpr int columns = Shape::columns, step = Shape::step;
  using Stage = GradStage<T, Shape>;

  const AttentionProblem<T>& p;
  int thread, lane, warp, warpRow, first, rows, down;
  RowOperand<T, Shape> keys, values;
  float dk[columns / 8][4], dv[columns / 8][4];
  // What a step needs beside rows: loaded early and, where there are registers for it, stored a step's products later.
  Activity next{};
  float nextBias = 0;

  __device__ __forceinline__ explicit GradThread(const AttentionProblem<T>& problem)
      : p(problem),
        thread(static_cast<int>(threadIdx.x)),
        lane(thread % 32),
        warp(thread / 32),
        warpRow(16 * warp),
        first(work().first),
        rows(p.keys - first < Shape::rows ? p.keys - first : Shape::rows),
        down(opaque(Tile<T, columns>::laneDown())),
        keys{{sharedMemory<T>(0)}, warpRow, {}},
        values{{sharedMemory<T>(Shape::rowBytes)}, warpRow, {}} {}

  // Read again in every step: registers are scarcer than shared memory's time.
  __device__ __forceinline__ static GradWork work() {
    const auto notes = sharedMemory<int>(Shape::workAt);
    return {notes[0], notes[1], notes[2], notes[3], notes[4], notes[5]};
  }
  // How many heads of the group are done.
  __device__ __forceinline__ static Shared<int> headsDone() { return sharedMemory<int>(Shape::workAt + 24); }
  __device__ __forceinline__ std::int64_t firstKey() const { return p.keyAt(work().b, work().first, work().kvHead); }
  __device__ __forceinline__ int steps() const { return work().tiles * (p.heads / p.kvHeads); }
  __device__ __forceinline__ int warpKey() const { return first + warpRow; }

  __device__ __forceinline__ void storeFetched(const Stage& at) {
    if (thread < Shape::queryTiles) at.active()[thread] = opaque(next.low) | opaque(next.high) << 4;
    if (thread < Shape::distances) at.bias()[thread] = nextBias * log2e;
  }
  // Step i: the query tiles of a head of the group, then those of the next.
  __device__ __forceinline__ void fetch(int i, int head) {
    const Stage at{i};
    const GradWork w = work();
    const int b = w.b, h = w.firstHead + head, query = (w.firstTile + i - head * w.tiles) * step;
    const std::int64_t from = p.queryAt(b, query, h);
    at.queries().template copyFrom<step, Shape::threads>(p.q + from, p.queryStride(), p.length - query, p.headDim);
    at.gradients().template copyFrom<step, Shape::threads>(p.dout + from, p.queryStride(), p.length - query, p.headDim);
    if (thread < step) copyAsync16(at.terms() + thread, p.terms + p.termsAt(b, h, query + thread), true);
    copyAsyncCommit();
    if (thread < Shape::queryTiles) next = p.activityOf(b, h, query / 16 + thread, w.first);
    if (thread < Shape::distances) nextBias = p.biasAt(h, p.position(query) - w.first - (Shape::rows - 1) + thread);
    if (i == 0 || !Shape::resident) storeFetched(at);
  }
  // One warp looks, as a step begins, whether its turn at dq's sums has come, while another passes that of the step before on:
  // their latency passes while the other warps of their quarters of the multiprocessor compute.
  __device__ __forceinline__ void takeTurns(int i, int head) const {
    if (thread == 0) {
      const Stage at{i};
      const GradWork w = work();
      const int h = w.firstHead + head;
      const GradTurn<step> turn(p, w, h, w.firstTile + i - head * w.tiles,
                                static_cast<int>(queryRow(at.terms()[0]).start));
      at.notes()[0] = turn.at;
      at.notes()[1] = turn.order;
      at.notes()[2] = turn.last ? 1 : 0;
      at.notes()[3] = hasTurn(p.turns + turn.at, turn.order) ? 1 : 0;
      at.notes()[4] = h;
    }
    if (i > 0) passOn(i - 1);
  }
  __device__ __forceinline__ void passOn(int i) const {
    const auto notes = Stage{i}.notes();
    if (thread == Shape::threads - 32 && notes[2] == 0) passTurn(p.turns + notes[0], notes[1] + 1);
  }

  // ds of 16 keys and of the 16 queries from c on, operand A, into shared memory.
  __device__ __forceinline__ void storePairs(const Stage& at, const std::uint32_t (&a)[4], int c) const {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int key = warpRow + lane / 4 + 8 * (e % 2), column = key / Shape::pairRows * step + c + 8 * (e / 2);
      *sharedCast<std::uint32_t>(at.pairs().unit(key % Shape::pairRows, column / 8) + 2 * (lane % 4)) = a[e];
    }
  }
  template <bool plain>
  __device__ __forceinline__ void pairsOf(const Stage& at, float (&s)[2][4], float (&g)[2][4], int query, int c) const {
    const float scale = p.scale * log2e;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const int r = c + 8 * n + 2 * (lane % 4) + odd;
        const QueryRow row = queryRow(at.terms()[r]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int key = warpRow + lane / 4 + 8 * half, e = 2 * half + odd;
          if constexpr (plain) {
            pairGrad<true>(s[n][e], g[n][e], row, 0, true, scale);
          } else {
            const int j = work().first + key;
            const bool attended = static_cast<float>(j) >= row.start && j <= p.position(query + r);
            pairGrad<false>(s[n][e], g[n][e], row, at.bias()[r - key + Shape::rows - 1], attended, scale);
          }
        }
      }
    }
  }
  // A piece of 16 queries: their parts of dk and dv. `ds` becomes operand A of dk's product.
  __device__ __forceinline__ void takePiece(const Stage& at, std::uint32_t (&ds)[4], int query, int c, bool plain) {
    const bool active = (at.active()[c / 16] >> warp & 1) != 0;
    float s[2][4], g[2][4];
    keys.dot(s, at.queries(), c, down);
    if (active) {
      values.dot(g, at.gradients(), c, down);
    } else {
      clear(g);
    }
    if (plain) {
      pairsOf<true>(at, s, g, query, c);
    } else {
      pairsOf<false>(at, s, g, query, c);
    }
    if (active) {
      packWeights<T>(ds, g);
      accumulate(dv, ds, at.gradients(), c, 0);
    }
    packA<T>(ds, s);
    accumulate(dk, ds, at.queries(), c, 0);
  }
  __device__ __forceinline__ void takePairs(int i, int head, int query, int lastQuery) {
    const Stage at{i};
    const float firstStart = queryRow(at.terms()[0]).start, lastStart = queryRow(at.terms()[lastQuery - query]).start;
    const bool works =
        warpRow < rows && p.position(lastQuery) >= warpKey() && firstStart <= static_cast<float>(warpKey() + 15);
    const bool plain = lastQuery - query == step - 1 && warpRow + 15 < rows &&
                       lastStart <= static_cast<float>(warpKey()) && p.position(query) - (warpKey() + 15) >= p.window;
    takeTurns(i, head);
    // ds of these 16 queries and, where it cannot be stored yet, of the 16 before.
    std::uint32_t mine[4] = {}, earlier[4] = {};
#pragma unroll 1
    for (int c = 0; c < step; c += 16) {
      if constexpr (!Shape::ownPairs) {
#pragma unroll
        for (int e = 0; e < 4; ++e) earlier[e] = mine[e];
      }
      if (works && p.position(query + c + 15) >= warpKey()) {
        takePiece(at, mine, query, c, plain);
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) mine[e] = 0;
      }
      if constexpr (Shape::ownPairs) storePairs(at, mine, c);
    }
    if constexpr (!Shape::ownPairs) {
      __syncthreads();  // nobody reads dO of this step any more
      static_assert(Shape::ownPairs || Shape::queryTiles == 2, "two pieces of ds");
      storePairs(at, earlier, 0);
      storePairs(at, mine, 16);
    }
  }
  // This warp's part of dq, added to that of the blocks whose turn was earlier.
  __device__ __forceinline__ void takeQueries(const Stage& at, int query, int reach) const {
    const auto notes = at.notes();
    const int turnAt = notes[0], order = notes[1];
    const int dqRow = warp % Shape::queryTiles * 16, dqColumn = warp / Shape::queryTiles * Shape::queryColumns;
    const int* turn = p.turns + turnAt;
    auto* sums =
        reinterpret_cast<float4*>(p.dqSums) + (static_cast<std::int64_t>(turnAt) * Shape::warps + warp) * 4 * 32 + lane;
    float4 before[4];
    const auto loadSums = [&] {
#pragma unroll
      for (int n = 0; n < 4 && order > 0; ++n) before[n] = loadInTurn(turn, sums + 32 * n);
    };
    // Before the product, which hides L2's latency, where there are registers for both.
    if constexpr (Shape::resident) loadSums();
    float dq[4][4];
    clear(dq);
#pragma unroll 2
    for (int key = 0; key < reach; key += 16) {
      std::uint32_t a[4];
      at.pairs().loadATransposed(a, key % Shape::pairRows, key / Shape::pairRows * step + dqRow);
      accumulate(dq, a, keys.tile, key, dqColumn);
    }
    if constexpr (!Shape::resident) loadSums();
    if (order > 0) addSums(dq, before);
    if (notes[2] != 0) {
      storeRows(p.dq + p.queryAt(work().b, query, notes[4]) + dqColumn, p.queryStride(), dqRow, p.length - query,
                p.headDim - dqColumn, dq, p.scale);
    } else {
#pragma unroll
      for (int n = 0; n < 4; ++n) storeInTurn(turn, sums + 32 * n, make_float4(dq[n][0], dq[n][1], dq[n][2], dq[n][3]));
    }
  }
  // spec §Backward: dbias, where some pair of the step is within the window.
  __device__ __forceinline__ void takeDiagonals(const Stage& at, int query) const {
    using Diagonals = typename Shape::Diagonals;
    const int nearest = p.position(query) - first;  // distance of the step's first query and key
    if (p.dbias == nullptr || nearest - (Shape::rows - 1) >= p.window) return;
    const GradWork w = work();
    const std::int64_t part = static_cast<std::int64_t>(w.b) * ceilDiv(p.keys, Shape::rows) + first / Shape::rows;
    const int offset = thread - (Shape::rows - 1), distance = nearest + offset;
    const bool counts = offset < step && distance >= 0 && distance < p.window;
    float* dbias = p.dbias + ((part * p.heads + at.notes()[4]) * p.window + distance);
    const float before = counts ? *dbias : 0.0f;  // early, for memory takes its time
    if (thread < Diagonals::threads) Diagonals::sumBlocks(at.pairs(), at.diagonals(), thread);
    __syncthreads();  // the blocks' sums are there
    if (counts) *dbias = before + Diagonals::sumOf(at.diagonals(), offset);
  }
  __device__ __forceinline__ void takeStep(int i) {
    copyAsyncWait<0>();
    __syncthreads();  // step i is there for all, and all are done with step i - 1
    const GradWork w = work();
    const int head = headsDone()[0], nextHead = head + (i + 1 == (head + 1) * w.tiles);
    const int query = (w.firstTile + i - head * w.tiles) * step;
    if (i + 1 < steps()) fetch(i + 1, nextHead);
    const int lastQuery = query + step < p.length ? query + step - 1 : p.length - 1;
    takePairs(i, head, query, lastQuery);
    const Stage at{i};
    if (Shape::resident && i + 1 < steps()) storeFetched(Stage{i + 1});
    if (thread == 0 && at.notes()[3] == 0) awaitTurn(p.turns + at.notes()[0], at.notes()[1]);
    __syncthreads();  // ds is there for all, and it is this block's turn
    if (thread == 0 && i + 1 == (headsDone()[0] + 1) * work().tiles) headsDone()[0] = headsDone()[0] + 1;
    takeQueries(at, query, p.position(lastQuery) - first + 1 < rows ? p.position(lastQuery) - first + 1 : rows);
    takeDiagonals(at, query);
  }
  __device__ __forceinline__ void run() {
    const std::int64_t from = firstKey();
    keys.tile.template copyFrom<Shape::rows, Shape::threads>(p.k + from, p.keyStride(), rows, p.headDim);
    values.tile.template copyFrom<Shape::rows, Shape::threads>(p.v + from, p.keyStride(), rows, p.headDim);
    copyAsyncCommit();
    if (steps() > 0) fetch(0, 0);
    copyAsyncWait<0>();
    __syncthreads();
    keys.load();
    values.load();
    clear(dk);
    clear(dv);
    for (int i = 0; i < steps(); ++i) takeStep(i);
    __syncthreads();
    if (steps() > 0) passOn(steps() - 1);
    storeRows(p.dk + firstKey(), p.keyStride(), warpRow, rows, p.headDim, dk, p.scale);
    storeRows(p.dv + firstKey(), p.keyStride(), warpRow, rows, p.headDim, dv, 1.0f);
  }
};

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::threads, 1) gradKernel(const __grid_constant__ AttentionProblem<T> p) {
  // What thread 0 finds out for all.
  if (threadIdx.x == 0) {
    const GradWork taken = takeWork<Shape::rows, Shape::step>(p);
    const int each[] = {taken.first, taken.b, taken.kvHead, taken.firstTile, taken.tiles, taken.firstHead, 0};
    for (int i = 0; i < 7; ++i) sharedMemory<int>(Shape::workAt)[i] = each[i];
  }
  __syncthreads();
  GradThread<T, Shape>(p).run();
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
