// One token per row from its logits, as core's `sampleToken` draws it: a block per row. Nothing is sorted: the thresholds of top-k and
// top-p are found two bits at a time in the order of the logits, each by the sums over a pass. Weights are f32.
#include <climits>

#include "kernels/common.h"

namespace gpu {

namespace {

constexpr int threads = 512, warps = threads / 32;

template <class T>
struct Draw {
  const T *logits, *embeddings;
  const double* uniforms;  // nullptr: the largest
  std::int32_t *steps, *out;
  T* x;
  int batch, vocabulary, width, topK;
  float temperature, topP;
};

// Numbers in their order as integers, NaN the largest; both zeros are equal.
__device__ __forceinline__ int rankOf(float x) {
  if (x != x) return INT_MAX;
  const int bits = floatAsInteger(x + 0.0f);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}
__device__ __forceinline__ float valueOf(int rank) { return integerAsFloat(rank ^ ((rank >> 31) & 0x7fffffff)); }

__device__ __forceinline__ int blockMost(int x) {
  const auto found = sharedMemory<int>();
  x = warpMostInteger(x);
  if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = x;
  __syncthreads();
  int most = found[0];
  for (int w = 1; w < warps; ++w) most = most < found[w] ? static_cast<int>(found[w]) : most;
  __syncthreads();
  return most;
}
__device__ __forceinline__ int blockLeast(int x) { return -blockMost(-x); }

// Sum over the threads before this one.
__device__ __forceinline__ float sumBefore(float x) {
  const auto sums = sharedMemory<float>();
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  float sum = x;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const float other = shuffle(sum, lane - distance);
    if (lane >= distance) sum += other;
  }
  const float before = shuffle(sum, lane - 1);
  if (lane == 31) sums[warp] = sum;
  __syncthreads();
  float total = lane == 0 ? 0.0f : before;
  for (int w = 0; w < warp; ++w) total += sums[w];
  __syncthreads();
  return total;
}

// What is kept of a row: ranks above `rank`, and the first `ties` of those equal to it.
struct Kept {
  int rank = INT_MIN, ties = 0;
};

template <class T>
struct Row {
  const T* logits;
  int vocabulary;
  float temperature, peak;

  __device__ __forceinline__ float weight(float logit) const { return expf((logit - peak) / temperature); }

  // Sum of term(logit) over the logits of at least that rank.
  template <class Term>
  __device__ float sumFrom(int rank, const Term& term) const {
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < vocabulary; i += threads) {
      const float logit = toFloat(logits[i]);
      if (rankOf(logit) >= rank) sum += term(logit);
    }
    return blockSum<threads>(sum, sharedMemory<float>());
  }

  // The largest rank whose sum is at least `least`, or INT_MIN.
  template <class Term>
  __device__ int largestRank(float least, const Term& term) const {
    unsigned found = 0;  // the rank + 2^31
#pragma unroll 1
    for (int bit = 30; bit >= 0; bit -= 2) {
      float sums[3] = {};
      for (int i = static_cast<int>(threadIdx.x); i < vocabulary; i += threads) {
        const float logit = toFloat(logits[i]);
        const unsigned rank = static_cast<unsigned>(rankOf(logit)) ^ 0x80000000u;
        if (rank < found) continue;
        const float value = term(logit);
#pragma unroll
        for (unsigned two = 1; two < 4; ++two) sums[two - 1] += rank >= (found | two << bit) ? value : 0.0f;
      }
      unsigned bits = 0;
#pragma unroll
      for (unsigned two = 1; two < 4; ++two) {
        if (blockSum<threads>(sums[two - 1], sharedMemory<float>()) >= least) bits = two;
      }
      found |= bits << bit;
    }
    return static_cast<int>(found ^ 0x80000000u);
  }

  __device__ Kept topK(int count) const {
    const auto one = [](float) { return 1.0f; };
    Kept kept;
    kept.rank = largestRank(static_cast<float>(count), one);
    kept.ties = count - static_cast<int>(sumAbove(kept.rank, one));
    return kept;
  }
  template <class Term>
  __device__ float sumAbove(int rank, const Term& term) const {
    return rank == INT_MAX ? 0.0f : sumFrom(rank + 1, term);
  }

  // Of what is kept, the fewest largest whose weights reach the share of all.
  __device__ Kept topP(Kept kept, float share) const {
    const auto one = [&](float logit) { return weight(logit); };
    const float above = sumAbove(kept.rank, one);
    const float goal =
        share * (above + (kept.ties > 0 ? static_cast<float>(kept.ties) * weight(valueOf(kept.rank)) : 0.0f));
    // Where those above do not reach the share, some ties of top-k do.
    if (above >= goal) kept = {largestRank(goal, one), INT_MAX};
    const float missing = (goal - sumAbove(kept.rank, one)) / weight(valueOf(kept.rank));
    const int wanted = static_cast<int>(fminf(fmaxf(ceilf(missing), 1.0f), 16777216.0f));
    kept.ties = kept.ties < wanted ? kept.ties : wanted;
    return kept;
  }

  // The id where the running sum of kept weights passes the number's share of it; INT_MAX where rounding led past the last.
  __device__ int draw(const Kept& kept, float uniform) const {
    const int stretch = ceilDiv(vocabulary, threads), first = static_cast<int>(threadIdx.x) * stretch;
    const int end = first + stretch < vocabulary ? first + stretch : vocabulary;
    float equal = 0, sum = 0;
    for (int i = first; i < end; ++i) equal += rankOf(toFloat(logits[i])) == kept.rank ? 1.0f : 0.0f;
    const auto tiesBefore = static_cast<int>(sumBefore(equal));
    const auto each = [&](const auto& visit) {
      int place = tiesBefore;
      for (int i = first; i < end; ++i) {
        const float logit = toFloat(logits[i]);
        const int rank = rankOf(logit);
        if (rank > kept.rank || (rank == kept.rank && place < kept.ties)) visit(i, weight(logit));
        if (rank == kept.rank) place += 1;
      }
    };
    each([&](int, float w) { sum += w; });
    float running = sumBefore(sum);
    const float wanted = uniform * blockSum<threads>(sum, sharedMemory<float>());
    int found = INT_MAX;
    each([&](int i, float w) {
      running += w;
      if (wanted < running && found == INT_MAX) found = i;
    });
    return blockLeast(found);
  }
};

template <class T>
__global__ void __launch_bounds__(threads, 1) drawKernel(const __grid_constant__ Draw<T> p) {
  const int b = static_cast<int>(blockIdx.x), step = p.steps[b];
  Row<T> row{p.logits + static_cast<std::int64_t>(b) * p.vocabulary, p.vocabulary, p.temperature, 0};
  int most = INT_MIN, place = 0;
  for (int i = static_cast<int>(threadIdx.x); i < p.vocabulary; i += threads) {
    const int rank = rankOf(toFloat(row.logits[i]));
    if (rank > most) {
      most = rank;
      place = i;
    }
  }
  const int top = blockMost(most), largest = blockLeast(most == top ? place : INT_MAX);
  int id = largest;
  if (p.uniforms != nullptr && top != INT_MAX) {
    row.peak = valueOf(top);
    Kept kept;
    if (p.topK < p.vocabulary) kept = row.topK(p.topK);
    if (p.topP < 1) kept = row.topP(kept, p.topP);
    const int drawn = row.draw(kept, static_cast<float>(p.uniforms[static_cast<std::int64_t>(step) * p.batch + b]));
    if (drawn != INT_MAX) id = drawn;
  }
  for (int i = static_cast<int>(threadIdx.x); i < p.width; i += threads) {
    p.x[static_cast<std::int64_t>(b) * p.width + i] = p.embeddings[static_cast<std::int64_t>(id) * p.width + i];
  }
  if (threadIdx.x != 0) return;
  p.out[static_cast<std::int64_t>(step) * p.batch + b] = top == INT_MAX ? -1 - id : id;
  p.steps[b] = step + 1;
}

}  // namespace

void drawTokens(const Decode& op, const Tensor& logits, const double* uniforms, std::int32_t* steps, const Tensor& x,
                cudaStream_t stream) {
  const auto i = [](std::int64_t value) { return static_cast<int>(value); };
  const std::int64_t batch = op.tokens.size;
  withFloatType(logits.dtype, [&](auto t) {
    using T = decltype(t);
    const Draw<T> p{pointer<const T>(logits),
                    pointer<const T>(op.embeddings),
                    op.temperature == 0 ? nullptr : uniforms,
                    steps,
                    pointer<std::int32_t>(op.out),
                    pointer<T>(x),
                    i(batch),
                    i(op.vocabulary),
                    i(x.size / batch),
                    i(op.topK),
                    static_cast<float>(op.temperature),
                    static_cast<float>(op.topP)};
    launch("decoder draw", drawKernel<T>, dim3{gridSize(batch, 1)}, dim3{threads}, warps * sizeof(float), stream, p);
  });
}

}  // namespace gpu
