// Elastic-Softmax over dense scores, and attention weights for looking at: a block per row, any length.
#include "kernels/attention.h"

namespace gpu {

namespace {

constexpr int threads = 256;
constexpr std::size_t scratch = threads / 32 * sizeof(float);

// Row (b, h, r) of [B, H, L, S]: keys start..end are attended (n of them), and tau_h / n is added.
struct Row {
  std::int64_t at, start, end;
  float offset, n;
  Beside beside;
};

__device__ Row rowOf(std::int64_t block, std::int64_t heads, std::int64_t length, std::int64_t keys,
                     const LearnedPointers& learned, const std::int32_t* starts) {
  const std::int64_t r = block % length, h = block / length % heads, b = block / length / heads;
  Row row{};
  row.at = block * keys;
  row.start = starts == nullptr ? 0 : starts[b * length + r];
  row.end = r + keys - length;
  row.n = static_cast<float>(row.end - row.start + 1);
  row.offset = learned.tau == nullptr ? 0 : learned.tau[h] / row.n;
  row.beside = learned.beside(h);
  return row;
}

// Of Elastic-Softmax on given scores, which already have all else in them.
LearnedPointers onlyTau(const Tensor& tau) {
  Learned learned;
  learned.tau = tau;
  return learnedOf(learned);
}

// Maximum of the attended scores and sum of exp(s - maximum). Apart, so that s - maximum is exact before exp.
struct Norm {
  float most, inverseSum;
};
template <class T>
__device__ Norm normOf(const T* scores, const Row& row) {
  float most = -INFINITY;
  for (std::int64_t j = row.start + threadIdx.x; j <= row.end; j += threads) {
    most = fmaxf(most, toFloat(scores[row.at + j]));
  }
  most = fmaxf(blockMax<threads>(most, sharedMemory<float>()), row.beside.most());
  float total = threadIdx.x == 0 ? row.beside.total<false>(most) : 0.0f;
  for (std::int64_t j = row.start + threadIdx.x; j <= row.end; j += threads) {
    total += expf(toFloat(scores[row.at + j]) - most);
  }
  return {most, 1 / blockSum<threads>(total, sharedMemory<float>())};
}

// w_ij of spec §Forward. `out` may be `scores`.
template <class T>
__device__ void writeWeights(const T* scores, T* out, const Row& row, std::int64_t keys) {
  const Norm norm = normOf(scores, row);
  for (std::int64_t j = threadIdx.x; j < keys; j += threads) {
    const bool attended = j >= row.start && j <= row.end;
    const float p = attended ? expf(toFloat(scores[row.at + j]) - norm.most) * norm.inverseSum : 0.0f;
    out[row.at + j] = fromFloat<T>(attended ? nanMax(p + row.offset, 0.0f) : 0.0f);
  }
}

template <class T>
__global__ void __launch_bounds__(threads)
    elasticKernel(const T* scores, LearnedPointers learned, const std::int32_t* starts, T* out, std::int64_t heads,
                  std::int64_t length, std::int64_t keys) {
  writeWeights(scores, out, rowOf(blockIdx.x, heads, length, keys, learned, starts), keys);
}

template <class T>
__global__ void __launch_bounds__(threads)
    elasticGradKernel(const T* dweights, const T* scores, LearnedPointers learned, const std::int32_t* starts,
                      T* dscores, float* dtauRows, std::int64_t heads, std::int64_t length, std::int64_t keys) {
  const Row row = rowOf(blockIdx.x, heads, length, keys, learned, starts);
  const Norm norm = normOf(scores, row);
  // delta = sum p m g and the row's part of dtau = sum m g / n.
  float delta = 0, active = 0;
  for (std::int64_t j = row.start + threadIdx.x; j <= row.end; j += threads) {
    const float p = expf(toFloat(scores[row.at + j]) - norm.most) * norm.inverseSum;
    if (p + row.offset > 0) {
      const float g = toFloat(dweights[row.at + j]);
      delta += p * g;
      active += g;
    }
  }
  delta = blockSum<threads>(delta, sharedMemory<float>());
  active = blockSum<threads>(active, sharedMemory<float>());
  for (std::int64_t j = threadIdx.x; j < keys; j += threads) {
    float ds = 0;
    if (j >= row.start && j <= row.end) {
      const float p = expf(toFloat(scores[row.at + j]) - norm.most) * norm.inverseSum;
      ds = p * ((p + row.offset > 0 ? toFloat(dweights[row.at + j]) : 0.0f) - delta);
    }
    dscores[row.at + j] = fromFloat<T>(ds);
  }
  if (dtauRows != nullptr && threadIdx.x == 0) dtauRows[blockIdx.x] = active / row.n;
}

// out[h] = sum over b and r of rows[b, h, r]; a block per head.
__global__ void __launch_bounds__(threads)
    sumHeadsKernel(const float* rows, float* out, std::int64_t batch, std::int64_t heads, std::int64_t length) {
  float total = 0;
  for (std::int64_t i = threadIdx.x; i < batch * length; i += threads) {
    total += rows[(i / length * heads + blockIdx.x) * length + i % length];
  }
  total = blockSum<threads>(total, sharedMemory<float>());
  if (threadIdx.x == 0) out[blockIdx.x] = total;
}

// s_ij = scale q_i . k_j + bias, then w_ij, in place. A thread per key.
template <class T>
__global__ void __launch_bounds__(threads)
    weightsKernel(const T* q, const T* k, LearnedPointers learned, const std::int32_t* starts, float* out, float scale,
                  AttentionSizes z) {
  const Row row = rowOf(blockIdx.x, z.heads, z.queryLength, z.keyLength, learned, starts);
  const std::int64_t r = blockIdx.x % z.queryLength, h = blockIdx.x / z.queryLength % z.heads,
                     b = blockIdx.x / z.queryLength / z.heads;
  const auto query = sharedMemory<float>(64);
  for (std::int64_t d = threadIdx.x; d < z.headDim; d += threads) {
    query[d] = toFloat(q[((b * z.queryLength + r) * z.heads + h) * z.headDim + d]);
  }
  __syncthreads();
  const std::int64_t kvHead = h / (z.heads / z.kvHeads);
  for (std::int64_t j = row.start + threadIdx.x; j <= row.end; j += threads) {
    const T* key = k + ((b * z.keyCapacity + j) * z.kvHeads + kvHead) * z.headDim;
    float dot = 0;
    for (std::int64_t d = 0; d < z.headDim; ++d) dot += query[d] * toFloat(key[d]);
    const std::int64_t distance = row.end - j;
    out[row.at + j] = scale * dot + (distance < z.window ? learned.bias[h * z.window + distance] : 0.0f);
  }
  __syncthreads();
  writeWeights(out, out, row, z.keyLength);
}

}  // namespace

void sumHeads(const float* rows, float* out, std::int64_t batch, std::int64_t heads, std::int64_t length,
              cudaStream_t stream) {
  launch("dtau", sumHeadsKernel, dim3{gridSize(heads, 1)}, dim3{threads}, scratch, stream, rows, out, batch, heads,
         length);
}

void run(const ElasticSoftmax& op, cudaStream_t stream) {
  withFloatType(op.scores.dtype, [&](auto t) {
    using T = decltype(t);
    launch("elasticSoftmax", elasticKernel<T>, dim3{gridSize(op.batch * op.heads * op.queryLength, 1)}, dim3{threads},
           scratch, stream, pointer<const T>(op.scores), onlyTau(op.tau), pointer<const std::int32_t>(op.starts),
           pointer<T>(op.out), op.heads, op.queryLength, op.keyLength);
  });
}

std::size_t workspace(const ElasticSoftmaxGrad& op) {
  return op.tau ? static_cast<std::size_t>(op.batch * op.heads * op.queryLength) * sizeof(float) : 0;
}

void run(const ElasticSoftmaxGrad& op, void* workspace, cudaStream_t stream) {
  auto* rows = static_cast<float*>(workspace);
  withFloatType(op.scores.dtype, [&](auto t) {
    using T = decltype(t);
    launch("elasticSoftmaxGrad", elasticGradKernel<T>, dim3{gridSize(op.batch * op.heads * op.queryLength, 1)},
           dim3{threads}, scratch, stream, pointer<const T>(op.dweights), pointer<const T>(op.scores), onlyTau(op.tau),
           pointer<const std::int32_t>(op.starts), pointer<T>(op.dscores), rows, op.heads, op.queryLength,
           op.keyLength);
  });
  if (op.tau) sumHeads(rows, pointer<float>(op.dtau), op.batch, op.heads, op.queryLength, stream);
}

void run(const AttentionWeights& op, cudaStream_t stream) {
  const AttentionSizes& z = op.in.sizes;
  withFloatType(op.in.q.dtype, [&](auto t) {
    using T = decltype(t);
    launch("attentionWeights", weightsKernel<T>, dim3{gridSize(z.batch * z.heads * z.queryLength, 1)}, dim3{threads},
           64 + static_cast<std::size_t>(z.headDim) * sizeof(float), stream, pointer<const T>(op.in.q),
           pointer<const T>(op.in.k), learnedOf(op.in), pointer<const std::int32_t>(op.in.starts),
           pointer<float>(op.out), static_cast<float>(op.in.scale), z);
  });
}

}  // namespace gpu
