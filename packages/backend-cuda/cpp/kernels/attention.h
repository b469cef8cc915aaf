// What the attention kernels share. Letters and equations are SPEC.md's.
#pragma once

#include <climits>
#include <type_traits>

#include "kernels/common.h"

namespace gpu {

// Arguments of every attention kernel, in the launch.
template <class T>
struct AttentionProblem {
  const T *q, *k, *v;
  const float *bias, *tau;
  const std::int32_t* starts;
  float scale;
  int batch, length, keys, capacity, heads, kvHeads, headDim, window;
  // forward
  T* out;
  // lse_i, [B, H, L], absent for inference. The tensor-core kernels keep it in base 2; the exact ones in two parts, the
  // maximum here and the logarithm of the sum in `logTotal`.
  float *lse, *logTotal;
  // u_i = sum m v and a_i = sum m p v, [B, L, H, D], absent without tau: o = a + (tau / n) u and delta = dO . a. a is
  // kept beside o, because o - (tau / n) u would bring o's rounding into delta, which stands beside g in a difference.
  T *u, *a;
  // backward
  const T* dout;
  const float* delta;  // [B, H, L]
  T *dq, *dk, *dv;
  float* dbias;  // partial sums [B, row tiles, H, W], zero at first; absent without bias

  __device__ __forceinline__ std::int64_t queryAt(int b, int r, int h) const {
    return ((static_cast<std::int64_t>(b) * length + r) * heads + h) * headDim;
  }
  __device__ __forceinline__ std::int64_t keyAt(int b, int j, int kvHead) const {
    return ((static_cast<std::int64_t>(b) * capacity + j) * kvHeads + kvHead) * headDim;
  }
  __device__ __forceinline__ std::int64_t rowAt(int b, int h, int r) const {
    return (static_cast<std::int64_t>(b) * heads + h) * length + r;
  }
  __device__ __forceinline__ std::int64_t queryStride() const { return static_cast<std::int64_t>(heads) * headDim; }
  __device__ __forceinline__ std::int64_t keyStride() const { return static_cast<std::int64_t>(kvHeads) * headDim; }
  // Absolute position of query row r.
  __device__ __forceinline__ int position(int r) const { return r + keys - length; }
  __device__ __forceinline__ int start(int b, int r) const {
    return starts == nullptr ? 0 : starts[static_cast<std::int64_t>(b) * length + r];
  }
  // tau_h / n_i, 0 without tau.
  __device__ __forceinline__ float offset(int b, int h, int r) const {
    return tau == nullptr ? 0.0f : tau[h] / static_cast<float>(position(r) - start(b, r) + 1);
  }
  __device__ __forceinline__ float biasAt(int h, int distance) const {
    return distance < window && distance >= 0 ? bias[static_cast<std::int64_t>(h) * window + distance] : 0.0f;
  }
};

template <class T>
AttentionProblem<T> problemOf(const AttentionInputs& in) {
  const AttentionSizes& z = in.sizes;
  const auto i = [](std::int64_t x) { return static_cast<int>(x); };
  AttentionProblem<T> p{};
  p.q = pointer<const T>(in.q);
  p.k = pointer<const T>(in.k);
  p.v = pointer<const T>(in.v);
  p.bias = pointer<const float>(in.bias);
  p.tau = pointer<const float>(in.tau);
  p.starts = pointer<const std::int32_t>(in.starts);
  p.scale = static_cast<float>(in.scale);
  p.batch = i(z.batch);
  p.length = i(z.queryLength);
  p.keys = i(z.keyLength);
  p.capacity = i(z.keyCapacity);
  p.heads = i(z.heads);
  p.kvHeads = i(z.kvHeads);
  p.headDim = i(z.headDim);
  p.window = i(in.bias ? z.window : 0);
  return p;
}

inline bool usesTensorCores(const AttentionInputs& in) {
  return in.q.dtype != DType::f32 && in.sizes.headDim % 8 == 0;
}
inline bool decodes(const AttentionInputs& in) { return in.sizes.queryLength == 1; }

// Rows of queries per block of the kernel that makes dbias: the number of partial sums follows from it.
int gradRowTile(const AttentionInputs& in);

// Exact f32 arithmetic on any element type, head sizes up to 256 (attention_exact.cu).
template <class T>
void exactForward(const AttentionProblem<T>& p, cudaStream_t stream);
template <class T>
void exactGrad(const AttentionProblem<T>& p, cudaStream_t stream);
template <class T>
void exactDelta(const AttentionProblem<T>& p, float* delta, float* dtauRows, cudaStream_t stream);
inline constexpr int exactTile = 32;

// Tensor cores, bf16 and f16, head sizes that are multiples of 8 (attention_forward.cu, attention_grad.cu).
template <class T>
void tensorForward(const AttentionProblem<T>& p, cudaStream_t stream);
template <class T>
void tensorGrad(const AttentionProblem<T>& p, cudaStream_t stream);
int tensorGradRowTile(int headDim);

// One query row per sequence, split over the keys (attention_decode.cu).
std::size_t decodeWorkspace(const AttentionInputs& in);
template <class T>
void decode(const AttentionProblem<T>& p, void* workspace, cudaStream_t stream);

}  // namespace gpu
