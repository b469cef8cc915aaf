// Attention in f32 arithmetic. 256 threads, as 16 x 16, on tiles of 32 rows and 32 columns: thread (y, x) holds scores of
// rows y, y + 16 and columns x, x + 16, so a row lies in half a warp; and of a 32 x D product, rows y, y + 16 and the
// columns 4x.. of each group of 64. Two operand tiles share the memory, so that head size 256 fits every GPU.
#include "kernels/attention.h"

namespace gpu {

namespace {

constexpr int threads = 256;
constexpr int tile = exactTile;

template <int D>
struct Buffers {
  static constexpr int stride = D + 4;  // spreads the rows that a half warp reads over all banks
  static constexpr std::size_t bytes = (2 * tile * stride + 2 * tile * (tile + 1)) * sizeof(float);

  __device__ static Shared<float> a() { return sharedMemory<float>(); }
  __device__ static Shared<float> b() { return sharedMemory<float>(tile * stride * 4); }
  __device__ static Shared<float> p() { return sharedMemory<float>(2 * tile * stride * 4); }
  __device__ static Shared<float> m() { return sharedMemory<float>((2 * tile * stride + tile * (tile + 1)) * 4); }
};

// Rows [0, limit) of `width` elements become f32; what is beyond becomes zero.
template <int D, class T>
__device__ __forceinline__ void load(Shared<float> to, const T* from, std::int64_t stride, int limit, int width) {
  for (int i = static_cast<int>(threadIdx.x); i < tile * D; i += threads) {
    const int row = i / D, d = i % D;
    to[row * Buffers<D>::stride + d] = row < limit && d < width ? toFloat(from[row * stride + d]) : 0.0f;
  }
}

// Four steps of a dot product. delta_i uses it too: where one weight is 1, g - delta is then exactly 0.
__device__ __forceinline__ float dot4(float c, const float4& p, const float4& q) {
  return c + p.x * q.x + p.y * q.y + p.z * q.z + p.w * q.w;
}

// s[i][j] = a[y + 16 i] . b[x + 16 j]
template <int D>
__device__ __forceinline__ void dots(float (&s)[2][2], int y, int x) {
  s[0][0] = s[0][1] = s[1][0] = s[1][1] = 0;
  const auto a = sharedCast<float4>(Buffers<D>::a()), b = sharedCast<float4>(Buffers<D>::b());
  constexpr int stride = Buffers<D>::stride / 4;
  for (int d = 0; d < D / 4; ++d) {
    const float4 a0 = a[y * stride + d], a1 = a[(y + 16) * stride + d], b0 = b[x * stride + d],
                 b1 = b[(x + 16) * stride + d];
    s[0][0] = dot4(s[0][0], a0, b0);
    s[0][1] = dot4(s[0][1], a0, b1);
    s[1][0] = dot4(s[1][0], a1, b0);
    s[1][1] = dot4(s[1][1], a1, b1);
  }
}

// acc += p (tile x tile) . b (tile x D)
template <int D>
__device__ __forceinline__ void accumulateExact(float (&acc)[2][D / 16], Shared<float> p, int y, int x) {
  const auto b = sharedCast<float4>(Buffers<D>::b());
  for (int j = 0; j < tile; ++j) {
    const float p0 = p[y * (tile + 1) + j], p1 = p[(y + 16) * (tile + 1) + j];
#pragma unroll
    for (int c = 0; c < D / 64; ++c) {
      const float4 v = b[j * (Buffers<D>::stride / 4) + 16 * c + x];
      acc[0][4 * c] += p0 * v.x;
      acc[0][4 * c + 1] += p0 * v.y;
      acc[0][4 * c + 2] += p0 * v.z;
      acc[0][4 * c + 3] += p0 * v.w;
      acc[1][4 * c] += p1 * v.x;
      acc[1][4 * c + 1] += p1 * v.y;
      acc[1][4 * c + 2] += p1 * v.z;
      acc[1][4 * c + 3] += p1 * v.w;
    }
  }
}

template <int D, class T>
__device__ __forceinline__ void store(T* to, std::int64_t stride, int limit, int width, const float (&acc)[2][D / 16],
                                      float factor, int y, int x) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = y + 16 * i;
    if (row >= limit) continue;
#pragma unroll
    for (int n = 0; n < D / 16; ++n) {
      const int d = n / 4 * 64 + 4 * x + n % 4;
      if (d < width) to[row * stride + d] = fromFloat<T>(acc[i][n] * factor);
    }
  }
}

__device__ __forceinline__ void store(Shared<float> to, const float (&s)[2][2], int y, int x) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 2; ++j) to[(y + 16 * i) * (tile + 1) + x + 16 * j] = s[i][j];
  }
}

template <class T, int D>
__global__ void __launch_bounds__(threads, 1) exactForwardKernel(const __grid_constant__ AttentionProblem<T> p) {
  const int b = static_cast<int>(blockIdx.z), h = static_cast<int>(blockIdx.y), kvHead = h / (p.heads / p.kvHeads);
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * tile;  // the longest rows start first
  const int y = static_cast<int>(threadIdx.x) / 16, x = static_cast<int>(threadIdx.x) % 16;
  const int rows = p.length - first < tile ? p.length - first : tile;
  const int firstKey = p.start(b, first) / tile * tile, lastKey = p.position(first + rows - 1);
  int start[2], last[2];
  float most[2], total[2], offset[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int r = first + y + 16 * i;
    const bool valid = r < p.length;
    start[i] = valid ? p.start(b, r) : 0;
    last[i] = valid ? p.position(r) : -1;
    offset[i] = valid ? p.offset(b, h, r) : 0;
    most[i] = lowest;
    total[i] = 0;
  }
  const auto scores = [&](float (&s)[2][2], int key) {
    dots<D>(s, y, x);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int at = key + x + 16 * j;
        const bool attended = at >= start[i] && at <= last[i];
        s[i][j] = attended ? s[i][j] * p.scale + p.biasAt(h, last[i] - at) : -INFINITY;
      }
    }
  };
  const auto loadKeys = [&](const T* from, int key) {
    load<D>(Buffers<D>::b(), from + p.keyAt(b, key, kvHead), p.keyStride(), p.keys - key, p.headDim);
  };

  load<D>(Buffers<D>::a(), p.q + p.queryAt(b, first, h), p.queryStride(), rows, p.headDim);
  // Pass 1: lse_i.
  for (int key = firstKey; key <= lastKey; key += tile) {
    __syncthreads();
    loadKeys(p.k, key);
    __syncthreads();
    float s[2][2];
    scores(s, key);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float next = fmaxf(most[i], fmaxf(s[i][0], s[i][1]));
      total[i] = total[i] * expf(most[i] - next) + expf(s[i][0] - next) + expf(s[i][1] - next);
      most[i] = next;
    }
  }
  // lse stays in two parts: with scores of 1e4 their sum would lose what exp needs.
  float logTotal[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int mask = 8; mask > 0; mask /= 2) {
      const float otherMost = shuffleXor(most[i], mask), otherTotal = shuffleXor(total[i], mask);
      const float next = fmaxf(most[i], otherMost);
      total[i] = total[i] * expf(most[i] - next) + otherTotal * expf(otherMost - next);
      most[i] = next;
    }
    p.beside(h).into(most[i], total[i]);
    logTotal[i] = logf(total[i]);
  }
  // Pass 2: a_i = sum m p v and u_i = sum m v give o_i = a + (tau / n) u.
  const bool elastic = p.tau != nullptr;
  float o[2][D / 16] = {}, u[2][D / 16] = {};
  for (int key = firstKey; key <= lastKey; key += tile) {
    __syncthreads();
    loadKeys(p.k, key);
    __syncthreads();
    float s[2][2], m[2][2];
    scores(s, key);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int at = key + x + 16 * j;
        const float weight = expf(s[i][j] - most[i] - logTotal[i]);
        const bool attended = at >= start[i] && at <= last[i], active = attended && weight + offset[i] > 0;
        // NaN is not active, but stays.
        s[i][j] = active || (attended && weight != weight) ? weight : 0.0f;
        m[i][j] = active ? 1.0f : 0.0f;
      }
    }
    store(Buffers<D>::p(), s, y, x);
    store(Buffers<D>::m(), m, y, x);
    __syncthreads();
    loadKeys(p.v, key);
    __syncthreads();
    accumulateExact<D>(o, Buffers<D>::p(), y, x);
    if (elastic) accumulateExact<D>(u, Buffers<D>::m(), y, x);
  }
  const std::int64_t out = p.queryAt(b, first, h);
  if (p.u != nullptr) {
    store<D>(p.u + out, p.queryStride(), rows, p.headDim, u, 1.0f, y, x);
    store<D>(p.a + out, p.queryStride(), rows, p.headDim, o, 1.0f, y, x);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int n = 0; n < D / 16; ++n) o[i][n] += offset[i] * u[i][n];
  }
  store<D>(p.out + out, p.queryStride(), rows, p.headDim, o, 1.0f, y, x);
  if (p.lse != nullptr && x == 0) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (y + 16 * i >= rows) continue;
      const std::int64_t row = p.rowAt(b, h, first + y + 16 * i);
      p.lse[row] = most[i];
      p.logTotal[row] = logTotal[i];
    }
  }
}

// What the gradient needs to know of a query row. One that does not exist attends nothing.
struct RowState {
  float most, logTotal, delta, offset;
  int start, last;
};
template <class T>
__device__ __forceinline__ RowState rowState(const AttentionProblem<T>& p, int b, int h, int r) {
  if (r >= p.length) return {0, 0, 0, 0, 0, -1};
  const std::int64_t row = p.rowAt(b, h, r);
  return {p.lse[row], p.logTotal[row], p.delta[row], p.offset(b, h, r), p.start(b, r), p.position(r)};
}

// One pair of spec §Backward: from s and g to w and ds.
struct PairGrad {
  float w, ds;
};
__device__ __forceinline__ PairGrad pairGrad(const RowState& row, float s, float g) {
  const float p = expf(s - row.most - row.logTotal);
  const bool active = p + row.offset > 0;
  return {nanMax(p + row.offset, 0.0f), p * ((active ? g : 0.0f) - row.delta)};
}

// dq_i = scale sum_j ds_ij k_j, and the tile's part of dbias.
template <class T, int D>
__global__ void __launch_bounds__(threads, 1) exactQueryGradKernel(const __grid_constant__ AttentionProblem<T> p) {
  const int b = static_cast<int>(blockIdx.z), h = static_cast<int>(blockIdx.y), kvHead = h / (p.heads / p.kvHeads);
  const int rowTile = static_cast<int>(gridDim.x - 1 - blockIdx.x), first = rowTile * tile;
  const int y = static_cast<int>(threadIdx.x) / 16, x = static_cast<int>(threadIdx.x) % 16;
  const int rows = p.length - first < tile ? p.length - first : tile;
  const int firstKey = p.start(b, first) / tile * tile, lastKey = p.position(first + rows - 1);
  float* dbias = p.dbias == nullptr
                     ? nullptr
                     : p.dbias + ((static_cast<std::int64_t>(b) * gridDim.x + rowTile) * p.heads + h) * p.window;
  float dq[2][D / 16] = {};
  for (int key = firstKey; key <= lastKey; key += tile) {
    float s[2][2], g[2][2];
    const auto loadKeys = [&](const T* from) {
      load<D>(Buffers<D>::b(), from + p.keyAt(b, key, kvHead), p.keyStride(), p.keys - key, p.headDim);
    };
    __syncthreads();
    load<D>(Buffers<D>::a(), p.dout + p.queryAt(b, first, h), p.queryStride(), rows, p.headDim);
    loadKeys(p.v);
    __syncthreads();
    dots<D>(g, y, x);
    __syncthreads();
    load<D>(Buffers<D>::a(), p.q + p.queryAt(b, first, h), p.queryStride(), rows, p.headDim);
    loadKeys(p.k);
    __syncthreads();
    dots<D>(s, y, x);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const RowState row = rowState(p, b, h, first + y + 16 * i);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int at = key + x + 16 * j;
        const bool attended = at >= row.start && at <= row.last;
        const float score = s[i][j] * p.scale + p.biasAt(h, row.last - at);
        s[i][j] = attended ? pairGrad(row, score, g[i][j]).ds : 0.0f;
      }
    }
    store(Buffers<D>::p(), s, y, x);
    __syncthreads();
    accumulateExact<D>(dq, Buffers<D>::p(), y, x);
    // dbias[h, d] = sum over i - j = d: a thread per diagonal of the tile, rows in order.
    const int e = static_cast<int>(threadIdx.x);
    const int distance = p.position(first) - key - (tile - 1) + e;
    if (dbias != nullptr && e < 2 * tile - 1 && distance >= 0 && distance < p.window) {
      float sum = 0;
      for (int r = 0; r < tile; ++r) {
        const int column = r + tile - 1 - e;
        if (column >= 0 && column < tile) sum += Buffers<D>::p()[r * (tile + 1) + column];
      }
      dbias[distance] += sum;
    }
  }
  store<D>(p.dq + p.queryAt(b, first, h), p.queryStride(), rows, p.headDim, dq, p.scale, y, x);
}

// dk_j = scale sum_i ds_ij q_i, dv_j = sum_i w_ij dO_i; rows of the tile are keys. The query heads of a group in turn.
template <class T, int D>
__global__ void __launch_bounds__(threads, 1) exactKeyGradKernel(const __grid_constant__ AttentionProblem<T> p) {
  const int b = static_cast<int>(blockIdx.z), kvHead = static_cast<int>(blockIdx.y);
  const int first = static_cast<int>(blockIdx.x) * tile, group = p.heads / p.kvHeads;
  const int y = static_cast<int>(threadIdx.x) / 16, x = static_cast<int>(threadIdx.x) % 16;
  const int rows = p.keys - first < tile ? p.keys - first : tile;
  const int firstQuery = first - (p.keys - p.length) > 0 ? (first - (p.keys - p.length)) / tile * tile : 0;
  float dk[2][D / 16] = {}, dv[2][D / 16] = {};
  for (int h = kvHead * group; h < (kvHead + 1) * group; ++h) {
    for (int query = firstQuery; query < p.length; query += tile) {
      if (p.start(b, query) >= first + rows) break;  // starts do not decrease: nobody further on attends these keys
      float s[2][2], g[2][2];
      const int queries = p.length - query < tile ? p.length - query : tile;
      const auto loadBoth = [&](const T* keys, const T* from) {
        load<D>(Buffers<D>::a(), keys + p.keyAt(b, first, kvHead), p.keyStride(), rows, p.headDim);
        load<D>(Buffers<D>::b(), from + p.queryAt(b, query, h), p.queryStride(), queries, p.headDim);
      };
      __syncthreads();
      loadBoth(p.k, p.q);
      __syncthreads();
      dots<D>(s, y, x);
      __syncthreads();
      loadBoth(p.v, p.dout);
      __syncthreads();
      dots<D>(g, y, x);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const RowState row = rowState(p, b, h, query + x + 16 * j);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int at = first + y + 16 * i;
          const bool attended = at >= row.start && at <= row.last;
          const float score = s[i][j] * p.scale + p.biasAt(h, row.last - at);
          const PairGrad pair = attended ? pairGrad(row, score, g[i][j]) : PairGrad{0, 0};
          s[i][j] = pair.ds;
          g[i][j] = pair.w;
        }
      }
      store(Buffers<D>::p(), g, y, x);
      store(Buffers<D>::m(), s, y, x);
      __syncthreads();
      accumulateExact<D>(dv, Buffers<D>::p(), y, x);
      __syncthreads();
      load<D>(Buffers<D>::b(), p.q + p.queryAt(b, query, h), p.queryStride(), queries, p.headDim);
      __syncthreads();
      accumulateExact<D>(dk, Buffers<D>::m(), y, x);
    }
  }
  store<D>(p.dk + p.keyAt(b, first, kvHead), p.keyStride(), rows, p.headDim, dk, p.scale, y, x);
  store<D>(p.dv + p.keyAt(b, first, kvHead), p.keyStride(), rows, p.headDim, dv, 1.0f, y, x);
}

// delta_i = dO_i . a_i (o_i without tau), dO_i . u_i / n_i and the row's part of dsink, a thread per row: in the order of `dots`.
template <class T>
__global__ void __launch_bounds__(threads)
    exactDeltaKernel(const __grid_constant__ AttentionProblem<T> p, float* delta) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (row >= static_cast<std::int64_t>(p.batch) * p.heads * p.length) return;
  const int r = static_cast<int>(row % p.length), h = static_cast<int>(row / p.length % p.heads),
            b = static_cast<int>(row / p.length / p.heads);
  const std::int64_t at = p.queryAt(b, r, h);
  const auto four = [](const T* x) { return make_float4(toFloat(x[0]), toFloat(x[1]), toFloat(x[2]), toFloat(x[3])); };
  const T* output = p.a == nullptr ? p.out : p.a;
  float outputs = 0, actives = 0;
  for (int d = 0; d < p.headDim; d += 4) {
    const float4 g = four(p.dout + at + d);
    outputs = dot4(outputs, g, four(output + at + d));
    if (p.u != nullptr) actives = dot4(actives, g, four(p.u + at + d));
  }
  delta[row] = outputs;
  if (p.parts.sink != nullptr) p.parts.sink[row] = -expf(p.sink[h] - p.lse[row] - p.logTotal[row]) * outputs;
  if (p.parts.tau != nullptr) p.parts.tau[row] = actives / static_cast<float>(p.position(r) - p.start(b, r) + 1);
}

dim3 gridOf(int rows, int heads, int batch) {
  return dim3{static_cast<unsigned>(ceilDiv(rows, tile)), static_cast<unsigned>(heads), static_cast<unsigned>(batch)};
}

template <class F>
void withHeadSize(int headDim, F f) {
  if (headDim <= 64) return f(std::integral_constant<int, 64>{});
  if (headDim <= 128) return f(std::integral_constant<int, 128>{});
  f(std::integral_constant<int, 256>{});
}

}  // namespace

template <class T>
void exactForward(const AttentionProblem<T>& p, cudaStream_t stream) {
  withHeadSize(p.headDim, [&](auto d) {
    constexpr int D = decltype(d)::value;
    launch("attention (f32)", exactForwardKernel<T, D>, gridOf(p.length, p.heads, p.batch), dim3{threads},
           Buffers<D>::bytes, stream, p);
  });
}

template <class T>
void exactGrad(const AttentionProblem<T>& p, cudaStream_t stream) {
  withHeadSize(p.headDim, [&](auto d) {
    constexpr int D = decltype(d)::value;
    launch("attentionGrad dq (f32)", exactQueryGradKernel<T, D>, gridOf(p.length, p.heads, p.batch), dim3{threads},
           Buffers<D>::bytes, stream, p);
    launch("attentionGrad dk dv (f32)", exactKeyGradKernel<T, D>, gridOf(p.keys, p.kvHeads, p.batch), dim3{threads},
           Buffers<D>::bytes, stream, p);
  });
}

template <class T>
void exactDelta(const AttentionProblem<T>& p, float* delta, cudaStream_t stream) {
  const std::int64_t rows = static_cast<std::int64_t>(p.batch) * p.heads * p.length;
  launch("attentionGrad delta (f32)", exactDeltaKernel<T>, dim3{gridSize(rows, threads)}, dim3{threads}, 0, stream, p,
         delta);
}

template void exactForward(const AttentionProblem<float>&, cudaStream_t);
template void exactForward(const AttentionProblem<bf16>&, cudaStream_t);
template void exactForward(const AttentionProblem<f16>&, cudaStream_t);
template void exactGrad(const AttentionProblem<float>&, cudaStream_t);
template void exactDelta(const AttentionProblem<float>&, float*, cudaStream_t);
template void exactGrad(const AttentionProblem<bf16>&, cudaStream_t);
template void exactDelta(const AttentionProblem<bf16>&, float*, cudaStream_t);
template void exactGrad(const AttentionProblem<f16>&, cudaStream_t);
template void exactDelta(const AttentionProblem<f16>&, float*, cudaStream_t);

}  // namespace gpu
