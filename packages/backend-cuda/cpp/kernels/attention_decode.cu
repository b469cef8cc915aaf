// Attention of one new token per sequence (L = 1). There is little to compute and a whole cache to read, so the keys are
// split over blocks (flash decoding) and only those rows of v are read that some query head of a pass gives a positive
// weight (spec §Decoding): with 60 % of the weights zero and as many kv heads as heads, 30 % of the cache stays unread.
//
// Three launches: scores, with maximum and sum per split; weighted values per split; the sum over the splits, in order.
// Eight lanes read a row, 16 bytes each and several rows at a time, so that a multiprocessor has tens of kilobytes under
// way. Where rows do not begin at multiples of 16 bytes, the same kernels read element by element.
#include <algorithm>
#include <cstdint>

#include "kernels/attention.h"

namespace gpu {

namespace {

constexpr int threads = 128;  // with a bound of one block: else ptxas spills for more warps than the loads need
constexpr int warps = threads / 32;
constexpr int lanesPerRow = 8;
constexpr int rowsPerWarp = 32 / lanesPerRow;
constexpr int blockRows = warps * rowsPerWarp;  // keys that a block reads at once
constexpr int scoreHeads = 8;                   // query heads that share a reading of k
constexpr int mostHeadDim = 256;

// Keys per block: fewer where there are few sequences and heads, so that every multiprocessor has several blocks.
int keysPerSplit(std::int64_t batch, std::int64_t kvHeads, std::int64_t keys) {
  constexpr int most = 256, least = 64, enoughBlocks = 1024;
  int split = most;
  while (split > least && batch * kvHeads * ceilDiv(keys, std::int64_t{split}) < enoughBlocks) split /= 2;
  return split;
}

struct Scratch {
  Growth growth;
  float* scores;   // [B, H, S]
  float2* norms;   // [B, H, splits]: maximum and sum of exp(s - maximum)
  float* partial;  // [splits, B, H, D]
  int splits, splitKeys;
};

// The row's keys: all of p.keys, or as many as there are by now.
struct Cached {
  int keys, start;
  template <class T>
  __device__ __forceinline__ Cached(const AttentionProblem<T>& p, const Growth& growth, int b) {
    const int step = growth.steps == nullptr ? 0 : growth.steps[b];
    keys = growth.steps == nullptr ? p.keys : p.keys - static_cast<int>(growth.most) + 1 + step;
    start = p.starts == nullptr ? 0 : p.starts[static_cast<std::int64_t>(step) * p.batch + b];
  }
};

// A load brings `vector` elements; a lane has columns (8 c + lane) vector + e of a row, for c < `columns`.
// Loads that a lane has under way, in units of rows: four in all.
template <int columns>
constexpr int rowsAhead = columns < 4 ? 4 / columns : 1;
// Query heads whose sums a thread keeps while it reads v once.
template <int columns>
constexpr int valueHeads = rowsAhead<columns>;

// The keys of a block, and its lanes' places.
struct Place {
  int first, count, lane, row;
  __device__ __forceinline__ Place(int split, int splitKeys, int keys) {
    first = split * splitKeys;
    count = first + splitKeys < keys ? splitKeys : keys - first;
    lane = static_cast<int>(threadIdx.x) % lanesPerRow;
    row = static_cast<int>(threadIdx.x) / lanesPerRow;
  }
};

// Query heads [first, first + count) of a pass over one kv head's group.
struct Pass {
  int kvHead, first, count;
  __device__ __forceinline__ Pass(int block, int group, int headsPerPass) {
    const int passes = ceilDiv(group, headsPerPass);
    kvHead = block / passes;
    first = kvHead * group + block % passes * headsPerPass;
    const int end = (kvHead + 1) * group;
    count = first + headsPerPass < end ? headsPerPass : end - first;
  }
};

// s_j for a split's keys and the query heads of a pass.
template <class T, int vector, int columns>
__global__ void __launch_bounds__(threads, 1)
    decodeScoresKernel(const __grid_constant__ AttentionProblem<T> p, Scratch scratch) {
  constexpr int ahead = rowsAhead<columns>;
  const int split = static_cast<int>(blockIdx.x), b = static_cast<int>(blockIdx.z);
  const Cached cached(p, scratch.growth, b);
  const int start = cached.start;
  const Pass pass(static_cast<int>(blockIdx.y), p.heads / p.kvHeads, scoreHeads);
  const Place at(split, scratch.splitKeys, cached.keys);
  if (at.count <= 0) return;                                                        // keys of later tokens
  const auto q = sharedMemory<float>();                                             // [scoreHeads, D]
  const auto scores = sharedMemory<float>(scoreHeads * p.headDim * sizeof(float));  // [scoreHeads, splitKeys]
  for (int i = static_cast<int>(threadIdx.x); i < pass.count * p.headDim; i += threads) {
    q[i] = toFloat(p.q[p.queryAt(b, 0, pass.first) + i]);
  }
  __syncthreads();
  for (int base = 0; base < at.count; base += blockRows * ahead) {
    Run<T, vector> x[ahead][columns];
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      const int i = base + u * blockRows + at.row, j = at.first + i;
      const T* key = p.k + p.keyAt(b, j, pass.kvHead);
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        const int d = (c * lanesPerRow + at.lane) * vector;
        x[u][c] = Run<T, vector>{};
        if (i < at.count && j >= start && d < p.headDim) x[u][c] = *reinterpret_cast<const Run<T, vector>*>(key + d);
      }
    }
    for (int g = 0; g < pass.count; ++g) {
      float dot[ahead] = {};
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        const int d = (c * lanesPerRow + at.lane) * vector;
        if (d >= p.headDim) continue;
#pragma unroll
        for (int e = 0; e < vector; ++e) {
          const float qd = q[g * p.headDim + d + e];
#pragma unroll
          for (int u = 0; u < ahead; ++u) dot[u] += qd * toFloat(x[u][c].x[e]);
        }
      }
#pragma unroll
      for (int u = 0; u < ahead; ++u) {
#pragma unroll
        for (int mask = lanesPerRow / 2; mask > 0; mask /= 2) dot[u] += shuffleXor(dot[u], mask);
        const int i = base + u * blockRows + at.row;
        if (at.lane != 0 || i >= at.count) continue;
        const float bias = p.biasAt(pass.first + g, cached.keys - 1 - (at.first + i));
        scores[g * scratch.splitKeys + i] = dot[u] * p.scale + bias;
      }
    }
  }
  __syncthreads();
  // A warp per head: maximum, sum of the exponentials, and the scores for the next launch.
  const int lane = static_cast<int>(threadIdx.x) % 32, skipped = start > at.first ? start - at.first : 0;
  for (int g = static_cast<int>(threadIdx.x) / 32; g < pass.count; g += warps) {
    const std::int64_t row = static_cast<std::int64_t>(b) * p.heads + pass.first + g;
    float most = lowest, total = 0;
    for (int i = skipped + lane; i < at.count; i += 32) most = fmaxf(most, scores[g * scratch.splitKeys + i]);
    most = warpMax(most);
    for (int i = skipped + lane; i < at.count; i += 32) {
      const float s = scores[g * scratch.splitKeys + i];
      total += expf(s - most);
      scratch.scores[row * p.keys + at.first + i] = s;
    }
    total = warpSum(total);
    if (lane == 0) scratch.norms[row * scratch.splits + split] = make_float2(most, total);
  }
}

// lse of a query row from the norms of its splits. Whole warps; the same on every lane.
template <class T>
__device__ __forceinline__ float decodedLse(const AttentionProblem<T>& p, const Scratch& scratch, std::int64_t row,
                                            int h, int splits) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float most = lowest, total = 0;
  for (int s = lane; s < splits; s += 32) most = fmaxf(most, scratch.norms[row * scratch.splits + s].x);
  most = warpMax(most);
  for (int s = lane; s < splits; s += 32) {
    const float2 norm = scratch.norms[row * scratch.splits + s];
    total += norm.y * expf(norm.x - most);
  }
  total = warpSum(total);
  p.beside(h).into(most, total);
  return most + logf(total);
}

// partial[split] = sum of w_j v_j over the split's keys, for the query heads of a pass. The weights first, so that rows of
// v to which no head of the pass gives any are never touched.
template <class T, int vector, int columns>
__global__ void __launch_bounds__(threads, 1)
    decodeValuesKernel(const __grid_constant__ AttentionProblem<T> p, Scratch scratch) {
  constexpr int ahead = rowsAhead<columns>, passHeads = valueHeads<columns>;
  const int split = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const Cached cached(p, scratch.growth, b);
  const int start = cached.start;
  const Pass pass(static_cast<int>(blockIdx.x), p.heads / p.kvHeads, passHeads);
  const Place at(split, scratch.splitKeys, cached.keys);
  if (at.count <= 0) return;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const auto lse = sharedMemory<float>();                                                      // [passHeads]
  const auto weights = sharedMemory<float>(passHeads * sizeof(float));                         // [passHeads, splitKeys]
  const auto sums = sharedMemory<float>(passHeads * (1 + scratch.splitKeys) * sizeof(float));  // [warps, passHeads, D]
  const std::int64_t rows = static_cast<std::int64_t>(b) * p.heads + pass.first;
  for (int g = warp; g < pass.count; g += warps) {
    const float value = decodedLse(p, scratch, rows + g, pass.first + g, ceilDiv(cached.keys, scratch.splitKeys));
    if (threadIdx.x % 32 == 0) lse[g] = value;
  }
  __syncthreads();
  for (int g = 0; g < passHeads; ++g) {
    for (int i = static_cast<int>(threadIdx.x); i < at.count; i += threads) {
      const int j = at.first + i;
      const bool attends = g < pass.count && j >= start;
      const float offset =
          attends && p.tau != nullptr ? p.tau[pass.first + g] / static_cast<float>(cached.keys - start) : 0.0f;
      weights[g * scratch.splitKeys + i] =
          attends ? nanMax(expf(scratch.scores[(rows + g) * p.keys + j] - lse[g]) + offset, 0.0f) : 0.0f;
    }
  }
  __syncthreads();
  float o[passHeads][columns][vector] = {};
  for (int base = 0; base < at.count; base += blockRows * ahead) {
    Run<T, vector> x[ahead][columns];
    float w[ahead][passHeads];
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
      const int i = base + u * blockRows + at.row;
      bool any = false;
#pragma unroll
      for (int g = 0; g < passHeads; ++g) {
        w[u][g] = i < at.count ? weights[g * scratch.splitKeys + i] : 0.0f;
        any = any || w[u][g] != 0;
      }
      const T* value = p.v + p.keyAt(b, at.first + i, pass.kvHead);
#pragma unroll
      for (int c = 0; c < columns; ++c) {
        const int d = (c * lanesPerRow + at.lane) * vector;
        x[u][c] = Run<T, vector>{};
        if (any && d < p.headDim) x[u][c] = *reinterpret_cast<const Run<T, vector>*>(value + d);
      }
    }
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
#pragma unroll
      for (int g = 0; g < passHeads; ++g) {
        if (w[u][g] == 0) continue;  // also where v is not a number
#pragma unroll
        for (int c = 0; c < columns; ++c) {
#pragma unroll
          for (int e = 0; e < vector; ++e) o[g][c][e] += w[u][g] * toFloat(x[u][c].x[e]);
        }
      }
    }
  }
  // The rows of a warp, then the warps, in order.
#pragma unroll
  for (int g = 0; g < passHeads; ++g) {
#pragma unroll
    for (int c = 0; c < columns; ++c) {
#pragma unroll
      for (int e = 0; e < vector; ++e) {
        float& sum = o[g][c][e];
#pragma unroll
        for (int mask = lanesPerRow; mask < 32; mask *= 2) sum += shuffleXor(sum, mask);
        const int d = (c * lanesPerRow + at.lane) * vector + e;
        if (at.row % rowsPerWarp == 0 && d < p.headDim) sums[(warp * passHeads + g) * p.headDim + d] = sum;
      }
    }
  }
  __syncthreads();
  const int size = pass.count * p.headDim;
  float* partial =
      scratch.partial + ((static_cast<std::int64_t>(split) * p.batch + b) * p.heads + pass.first) * p.headDim;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += threads) {
    float total = 0;
#pragma unroll
    for (int other = 0; other < warps; ++other) total += sums[other * passHeads * p.headDim + i];
    partial[i] = total;
  }
}

template <class T>
__global__ void __launch_bounds__(threads, 1)
    decodeSumKernel(const __grid_constant__ AttentionProblem<T> p, Scratch scratch) {
  const int perRow = p.heads * p.headDim;
  const std::int64_t size = static_cast<std::int64_t>(p.batch) * perRow;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= size) return;
  const Cached cached(p, scratch.growth, static_cast<int>(i / perRow));
  const int splits = ceilDiv(cached.keys, scratch.splitKeys);
  float total = 0;
  for (int s = 0; s < splits; ++s) total += scratch.partial[s * size + i];
  p.out[i] = fromFloat<T>(total);
}

std::int64_t alignedFloats(std::int64_t count) { return ceilDiv(count, std::int64_t{64}) * 64; }

template <class T, int vector, int columns>
void launchDecode(const AttentionProblem<T>& p, const Growth& growth, void* workspace, cudaStream_t stream) {
  constexpr int passHeads = valueHeads<columns>;
  const std::int64_t rows = static_cast<std::int64_t>(p.batch) * p.heads, size = rows * p.headDim;
  Scratch scratch{};
  scratch.growth = growth;
  scratch.splitKeys = keysPerSplit(p.batch, p.kvHeads, p.keys);
  scratch.splits = ceilDiv(p.keys, scratch.splitKeys);
  scratch.scores = static_cast<float*>(workspace);
  float* norms = scratch.scores + alignedFloats(rows * p.keys);
  scratch.norms = reinterpret_cast<float2*>(norms);
  scratch.partial = norms + alignedFloats(2 * rows * scratch.splits);
  const auto u = [](int x) { return static_cast<unsigned>(x); };
  const auto passes = [&](int headsPerPass) { return p.kvHeads * ceilDiv(p.heads / p.kvHeads, headsPerPass); };
  launch("attention decode scores", decodeScoresKernel<T, vector, columns>,
         dim3{u(scratch.splits), u(passes(scoreHeads)), u(p.batch)}, dim3{threads},
         static_cast<std::size_t>(scoreHeads * (p.headDim + scratch.splitKeys)) * sizeof(float), stream, p, scratch);
  launch("attention decode values", decodeValuesKernel<T, vector, columns>,
         dim3{u(passes(passHeads)), u(scratch.splits), u(p.batch)}, dim3{threads},
         static_cast<std::size_t>(passHeads * (1 + scratch.splitKeys + warps * p.headDim)) * sizeof(float), stream, p,
         scratch);
  launch("attention decode sum", decodeSumKernel<T>, dim3{gridSize(size, threads)}, dim3{threads}, 0, stream, p,
         scratch);
}

}  // namespace

std::size_t decodeWorkspace(const AttentionInputs& in) {
  const AttentionSizes& z = in.sizes;
  const std::int64_t rows = z.batch * z.heads,
                     splits = ceilDiv(z.keyLength, std::int64_t{keysPerSplit(z.batch, z.kvHeads, z.keyLength)});
  return static_cast<std::size_t>(alignedFloats(rows * z.keyLength) + alignedFloats(2 * rows * splits) +
                                  rows * splits * z.headDim) *
         sizeof(float);
}

template <class T>
void decode(const AttentionProblem<T>& p, const Growth& growth, void* workspace, cudaStream_t stream) {
  constexpr int vector = 16 / sizeof(T);
  const auto whole = [](const void* start) { return reinterpret_cast<std::uintptr_t>(start) % 16 == 0; };
  if (p.headDim % vector != 0 || !whole(p.k) || !whole(p.v)) {
    return launchDecode<T, 1, mostHeadDim / lanesPerRow>(p, growth, workspace, stream);
  }
  const int columns = ceilDiv(p.headDim, lanesPerRow * vector);
  if (columns == 1) return launchDecode<T, vector, 1>(p, growth, workspace, stream);
  if (columns == 2) return launchDecode<T, vector, 2>(p, growth, workspace, stream);
  if (columns <= 4) return launchDecode<T, vector, 4>(p, growth, workspace, stream);
  if constexpr (sizeof(T) == 4) return launchDecode<T, vector, 8>(p, growth, workspace, stream);
}

template void decode(const AttentionProblem<float>&, const Growth&, void*, cudaStream_t);
template void decode(const AttentionProblem<bf16>&, const Growth&, void*, cudaStream_t);
template void decode(const AttentionProblem<f16>&, const Growth&, void*, cudaStream_t);

}  // namespace gpu
