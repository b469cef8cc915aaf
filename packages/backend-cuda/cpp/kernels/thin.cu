// Products of a matrix and the few rows of decoding: what counts is to read the matrix once. A block of 128 threads has four rows of
// the matrix and up to four of the batch; a thread has every 128th run of 16 bytes of all of them, so that nothing is shared but sums.
// The norm before a product is made on the way, and what follows it (RoPE and the cache, the gate, the residual) at once; numbers are
// rounded where the ops that this is short for round them. The first run of the matrix is under way while the norm is summed.
#include "kernels/rope.h"
#include "kernels/run.h"

namespace gpu {

namespace {

constexpr int threads = 128, warps = threads / 32;
constexpr int matrixRows = 4;
constexpr int mostBatchRows = 4;

// What is multiplied: rows of [batch, width], after the norm where `Use::normed`.
template <class T>
struct Input {
  const T *x, *norm;
  int batch, width;
  float epsilon;
};

// Sums over the block; every thread has all.
template <int count>
__device__ __forceinline__ void blockSums(float (&x)[count]) {
  const auto sums = sharedMemory<float>();
#pragma unroll
  for (int i = 0; i < count; ++i) {
    x[i] = warpSum(x[i]);
    if (threadIdx.x % 32 == 0) sums[static_cast<int>(threadIdx.x) / 32 * count + i] = x[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < count; ++i) {
    x[i] = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) x[i] += sums[w * count + i];
  }
  __syncthreads();
}

// Blocks that a multiprocessor must have room for: with one row of the batch, 48 KiB of the matrix are under way then. Without a bound
// ptxas spills for more.
template <int batchRows>
constexpr int residentBlocks = batchRows == 1 ? 6 : 4;

// `Use` names the rows of the matrix that a group has, and takes their products with a row of the batch.
template <class T, int batchRows, class Use>
__global__ void __launch_bounds__(threads, residentBlocks<batchRows>)
    thinKernel(const __grid_constant__ Input<T> in, const __grid_constant__ Use use) {
  constexpr int vector = 16 / sizeof(T);
  using Chunk = Run<T, vector>;
  // Groups of the batch that read the same rows of the matrix follow each other.
  const int batchGroups = ceilDiv(in.batch, batchRows);
  const int group = static_cast<int>(blockIdx.x) / batchGroups;
  const int firstRow = static_cast<int>(blockIdx.x) % batchGroups * batchRows;
  const int chunks = in.width / vector, own = static_cast<int>(threadIdx.x);
  const T* matrix[matrixRows];
  use.rows(group, matrix);
  const T* x[batchRows];
#pragma unroll
  for (int r = 0; r < batchRows; ++r) {  // rows past the last repeat it and are not kept
    const int row = firstRow + r < in.batch ? firstRow + r : in.batch - 1;
    x[r] = in.x + static_cast<std::int64_t>(row) * in.width;
  }
  const auto at = [](const T* row, int chunk) { return *reinterpret_cast<const Chunk*>(row + chunk * vector); };
  Chunk ahead[matrixRows];
#pragma unroll
  for (int m = 0; m < matrixRows; ++m) ahead[m] = own < chunks ? at(matrix[m], own) : Chunk{};
  float inverse[batchRows] = {};
  if constexpr (Use::normed) {
    for (int c = own; c < chunks; c += threads) {
#pragma unroll
      for (int r = 0; r < batchRows; ++r) {
        const Chunk run = at(x[r], c);
#pragma unroll
        for (int e = 0; e < vector; ++e) inverse[r] += toFloat(run.x[e]) * toFloat(run.x[e]);
      }
    }
    blockSums(inverse);
#pragma unroll
    for (int r = 0; r < batchRows; ++r) {
      inverse[r] = 1 / sqrtf(inverse[r] / static_cast<float>(in.width) + in.epsilon);
    }
  }
  float sums[matrixRows][batchRows] = {};
  for (int c = own; c < chunks; c += threads) {
    Chunk weights[matrixRows];
#pragma unroll
    for (int m = 0; m < matrixRows; ++m) weights[m] = ahead[m];
    if (c + threads < chunks) {
#pragma unroll
      for (int m = 0; m < matrixRows; ++m) ahead[m] = at(matrix[m], c + threads);
    }
    const Chunk gain = Use::normed ? at(in.norm, c) : Chunk{};
#pragma unroll
    for (int r = 0; r < batchRows; ++r) {
      const Chunk run = at(x[r], c);
#pragma unroll
      for (int e = 0; e < vector; ++e) {
        float value = toFloat(run.x[e]);
        if (Use::normed) value = toFloat(fromFloat<T>(value * inverse[r] * toFloat(gain.x[e])));
#pragma unroll
        for (int m = 0; m < matrixRows; ++m) sums[m][r] += value * toFloat(weights[m].x[e]);
      }
    }
  }
  const auto parts = sharedMemory<float>();  // [warps, matrixRows, batchRows]
#pragma unroll
  for (int m = 0; m < matrixRows; ++m) {
#pragma unroll
    for (int r = 0; r < batchRows; ++r) {
      const float sum = warpSum(sums[m][r]);
      if (own % 32 == 0) parts[(own / 32 * matrixRows + m) * batchRows + r] = sum;
    }
  }
  __syncthreads();
  if (own >= batchRows || firstRow + own >= in.batch) return;
  float products[matrixRows];
#pragma unroll
  for (int m = 0; m < matrixRows; ++m) {
    float total = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) total += parts[(w * matrixRows + m) * batchRows + own];
    products[m] = toFloat(fromFloat<T>(total));
  }
  use.finish(group, firstRow + own, products);
}

// Four rows from 4 group on; rows past the last repeat it and are not kept.
template <class T>
struct FourRows {
  const T* matrix;
  int count, width;

  __device__ __forceinline__ void rows(int group, const T* (&to)[matrixRows]) const {
#pragma unroll
    for (int m = 0; m < matrixRows; ++m) {
      const int row = matrixRows * group + m;
      to[m] = matrix + static_cast<std::int64_t>(row < count ? row : count - 1) * width;
    }
  }
  template <class Keep>
  __device__ __forceinline__ void each(int group, const Keep& keep) const {
#pragma unroll
    for (int m = 0; m < matrixRows; ++m) {
      if (matrixRows * group + m < count) keep(matrixRows * group + m, m);
    }
  }
  int groups() const { return ceilDiv(count, matrixRows); }
};

// out = the products.
template <class T>
struct Store : FourRows<T> {
  static constexpr bool normed = true;
  T* out;
  __device__ __forceinline__ void finish(int group, int b, const float (&y)[matrixRows]) const {
    this->each(group,
               [&](int row, int m) { out[static_cast<std::int64_t>(b) * this->count + row] = fromFloat<T>(y[m]); });
  }
};

// x += the products.
template <class T>
struct AddTo : FourRows<T> {
  static constexpr bool normed = false;
  T* x;
  __device__ __forceinline__ void finish(int group, int b, const float (&y)[matrixRows]) const {
    this->each(group, [&](int row, int m) {
      T& to = x[static_cast<std::int64_t>(b) * this->count + row];
      to = fromFloat<T>(toFloat(to) + y[m]);
    });
  }
};

// silu(gate) * up: two rows of either.
template <class T>
struct Gated {
  static constexpr bool normed = true;
  const T *gate, *up;
  T* out;
  int count, width;

  int groups() const { return ceilDiv(count, 2); }
  __device__ __forceinline__ void rows(int group, const T* (&to)[matrixRows]) const {
    const std::int64_t first = 2 * group, second = 2 * group + 1 < count ? 2 * group + 1 : first;
    to[0] = gate + first * width;
    to[1] = gate + second * width;
    to[2] = up + first * width;
    to[3] = up + second * width;
  }
  __device__ __forceinline__ void finish(int group, int b, const float (&y)[matrixRows]) const {
    const auto one = [](float g, float u) { return fromFloat<T>(g / (1 + expf(-g)) * u); };
    T* to = out + static_cast<std::int64_t>(b) * count + 2 * group;
    to[0] = one(y[0], y[2]);
    if (2 * group + 1 < count) to[1] = one(y[1], y[3]);
  }
};

// q, and k and v into the cache: rows d, d + 1, d + D/2 and d + D/2 + 1 of a head, two pairs that RoPE turns.
template <class T>
struct Project {
  static constexpr bool normed = true;
  const T *q, *k, *v;
  T *out, *keys, *values;
  const std::int32_t* steps;
  std::int64_t position, capacity;
  int width, heads, kvHeads, headDim;
  bool rotates;
  Frequencies frequencies;

  int groups() const { return (heads + 2 * kvHeads) * headDim / matrixRows; }
  struct Place {
    int head, d;
    bool isQuery, isKey;
  };
  __device__ __forceinline__ Place placeOf(int group) const {
    const int quarters = headDim / matrixRows, head = group / quarters, d = group % quarters * 2;
    if (head < heads) return {head, d, true, false};
    const bool isKey = head < heads + kvHeads;
    return {head - heads - (isKey ? 0 : kvHeads), d, false, isKey};
  }
  __device__ __forceinline__ void rows(int group, const T* (&to)[matrixRows]) const {
    const Place at = placeOf(group);
    const T* matrix = at.isQuery ? q : at.isKey ? k : v;
    const std::int64_t first = static_cast<std::int64_t>(at.head) * headDim + at.d, half = headDim / 2;
    to[0] = matrix + first * width;
    to[1] = to[0] + width;
    to[2] = to[0] + half * width;
    to[3] = to[2] + width;
  }
  __device__ __forceinline__ void finish(int group, int b, const float (&y)[matrixRows]) const {
    const Place at = placeOf(group);
    const std::int64_t place = position + (steps == nullptr ? 0 : steps[b]);
    const std::int64_t row =
        at.isQuery ? static_cast<std::int64_t>(b) * heads + at.head : (b * capacity + place) * kvHeads + at.head;
    T* to = (at.isQuery ? out : at.isKey ? keys : values) + row * headDim + at.d;
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      float low = y[pair], high = y[pair + 2];
      if (rotates && (at.isQuery || at.isKey)) {
        const Turn turn(place, frequencies.of[at.d + pair]);
        low = turn.low(y[pair], y[pair + 2]);
        high = turn.high(y[pair], y[pair + 2]);
      }
      to[pair] = fromFloat<T>(low);
      to[headDim / 2 + pair] = fromFloat<T>(high);
    }
  }
};

template <class T, class Use>
void launchThin(const char* name, const Input<T>& in, const Use& use, cudaStream_t stream) {
  const auto go = [&](auto rows) {
    constexpr int batchRows = decltype(rows)::value;
    const std::int64_t blocks = static_cast<std::int64_t>(use.groups()) * ceilDiv(in.batch, batchRows);
    launch(name, thinKernel<T, batchRows, Use>, dim3{gridSize(blocks, 1)}, dim3{threads},
           warps * matrixRows * batchRows * sizeof(float), stream, in, use);
  };
  if (in.batch == 1) return go(std::integral_constant<int, 1>{});
  go(std::integral_constant<int, mostBatchRows>{});
}

int narrow(std::int64_t x) { return static_cast<int>(x); }

template <class T>
Input<T> inputOf(const Tensor& x, const Tensor* norm, double epsilon, std::int64_t batch) {
  return {pointer<const T>(x), norm == nullptr ? nullptr : pointer<const T>(*norm), narrow(batch),
          narrow(x.size / batch), static_cast<float>(epsilon)};
}

}  // namespace

bool decodesThin(const DecoderLayer& op) {
  constexpr std::int64_t mostBatch = 16;  // tensor cores from here on
  const auto perLoad = static_cast<std::int64_t>(16 / bytesPerElement(op.keys.dtype));
  const bool whole = op.width % perLoad == 0 && op.inner % perLoad == 0 && op.heads * op.headDim % perLoad == 0;
  return op.length == 1 && op.batch <= mostBatch && whole;
}

void projectThin(const DecoderLayer& op, const Tensor& q, const Growth& growth, cudaStream_t stream) {
  withFloatType(q.dtype, [&](auto t) {
    using T = decltype(t);
    const bool rotates = op.ropeBase != 0;
    const Project<T> use{pointer<const T>(op.q),
                         pointer<const T>(op.k),
                         pointer<const T>(op.v),
                         pointer<T>(q),
                         pointer<T>(op.keys),
                         pointer<T>(op.values),
                         growth.steps,
                         op.position,
                         op.capacity,
                         narrow(op.width),
                         narrow(op.heads),
                         narrow(op.kvHeads),
                         narrow(op.headDim),
                         rotates,
                         rotates ? frequenciesOf(op.ropeBase, op.headDim, 0, narrow(op.headDim / 2)) : Frequencies{}};
    launchThin("decoder project", inputOf<T>(op.x, &op.attentionNorm, op.epsilon, op.batch), use, stream);
  });
}

void addThin(const Tensor& input, const Tensor& weight, const Tensor& x, std::int64_t batch, cudaStream_t stream) {
  withFloatType(x.dtype, [&](auto t) {
    using T = decltype(t);
    const AddTo<T> use{{pointer<const T>(weight), narrow(x.size / batch), narrow(input.size / batch)}, pointer<T>(x)};
    launchThin("decoder add", inputOf<T>(input, nullptr, 0, batch), use, stream);
  });
}

void gateThin(const DecoderLayer& op, const Tensor& out, cudaStream_t stream) {
  withFloatType(out.dtype, [&](auto t) {
    using T = decltype(t);
    const Gated<T> use{pointer<const T>(op.gate), pointer<const T>(op.up), pointer<T>(out), narrow(op.inner),
                       narrow(op.width)};
    launchThin("decoder gate", inputOf<T>(op.x, &op.mlpNorm, op.epsilon, op.batch), use, stream);
  });
}

void logitsThin(const Decode& op, const Tensor& x, const Tensor& logits, cudaStream_t stream) {
  const std::int64_t batch = op.tokens.size;
  withFloatType(logits.dtype, [&](auto t) {
    using T = decltype(t);
    const Store<T> use{{pointer<const T>(op.head), narrow(op.vocabulary), narrow(x.size / batch)}, pointer<T>(logits)};
    launchThin("decoder logits", inputOf<T>(x, &op.norm, op.layers.front().epsilon, batch), use, stream);
  });
}

}  // namespace gpu
