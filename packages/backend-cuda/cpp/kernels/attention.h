// What the attention kernels share. Letters and equations are those of spec §Forward and spec §Backward.
#pragma once

#include <climits>
#include <type_traits>

#include "kernels/common.h"
#include "kernels/run.h"

namespace gpu {

// Tiles of the tensor-core kernels that more than one of them knows: keys per block of the backward kernel for head sizes
// up to 128, and the rows and keys of a bit, and keys of a byte, of `activity`.
inline constexpr int gradKeyTile = 128, activeRows = 16, activeKeys = 16, activeSpan = 64;
// No backward kernel takes more queries at a time, so rows are filled up to a multiple of it.
inline constexpr int mostGradStep = 64;
template <class Size>
__host__ __device__ constexpr Size paddedRows(Size length) {
  return ceilDiv(length, Size{mostGradStep}) * mostGradStep;
}

// Which 16 keys of 128 some row gives a positive weight, a bit each: of the first 64, and of those that follow.
struct Activity {
  int low, high;
};

// The logits that a row's softmax counts beside those of its keys, spec §Sink logit; -infinity where there is none.
struct Beside {
  float sink;

  __device__ __forceinline__ float most() const { return sink; }
  // Sum of exp(logit - most), in base 2 where the logits are.
  template <bool base2>
  __device__ __forceinline__ float total(float most) const {
    return sink == -INFINITY ? 0.0f : base2 ? exp2Fast(sink - most) : expf(sink - most);
  }
  // Counts them into the maximum and the sum of a row.
  __device__ __forceinline__ void into(float& most, float& sum) const {
    if (this->most() == -INFINITY) return;
    const float next = fmaxf(most, this->most());
    sum = sum * expf(most - next) + total<false>(next);
    most = next;
  }
};

// What attention learned (Learned of lazy_native) in device memory; nullptr where absent.
struct LearnedPointers {
  const float *bias, *tau, *sink;

  // Of head h; with a factor of log2 e in base 2.
  __device__ __forceinline__ Beside beside(std::int64_t h, float factor = 1.0f) const {
    return {sink == nullptr ? -INFINITY : sink[h] * factor};
  }
};

inline LearnedPointers learnedOf(const Learned& in) {
  return {pointer<const float>(in.bias), pointer<const float>(in.tau), pointer<const float>(in.sink)};
}

// The rows' parts [B, H, L] of the gradients of the learned inputs [H]; nullptr where absent.
struct RowParts {
  float *tau, *sink;

  // Calls visit(parts, input) for each.
  template <class Visit>
  static void each(const Visit& visit) {
    visit(&RowParts::tau, &Learned::tau);
    visit(&RowParts::sink, &Learned::sink);
  }
};

// Arguments of every attention kernel, in the launch.
template <class T>
struct AttentionProblem : LearnedPointers {
  const T *q, *k, *v;
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
  // [B, H, L / 16, S / 64], rounded up: bit c says that some weight of the 16 rows and of keys 16 c .. 16 c + 15 of the 64 is
  // positive. Absent without tau and for head sizes above 128.
  std::uint8_t* activity;
  // backward
  const T* dout;
  const float* delta;   // [B, H, L], of the exact kernels
  const float4* terms;  // [B, H, paddedLength()], of the tensor-core kernels: lse, delta, tau / n, first key
  T *dq, *dk, *dv;
  RowParts parts;
  float* dbias;   // partial sums [B, gradBiasPartials, H, W], zero at first; absent without bias
  float* dqSums;  // dq in f32, in the order of attention_grad.cu
  int* turns;     // [B, H, query tiles] whose turn it is to add to dq, and the next ticket; zero at first

  __device__ __forceinline__ std::int64_t queryAt(int b, int r, int h) const {
    return ((static_cast<std::int64_t>(b) * length + r) * heads + h) * headDim;
  }
  __device__ __forceinline__ std::int64_t keyAt(int b, int j, int kvHead) const {
    return ((static_cast<std::int64_t>(b) * capacity + j) * kvHeads + kvHead) * headDim;
  }
  __device__ __forceinline__ std::int64_t rowAt(int b, int h, int r) const {
    return (static_cast<std::int64_t>(b) * heads + h) * length + r;
  }
  // Rows that do not exist have terms too, by which they attend nothing.
  __host__ __device__ __forceinline__ int paddedLength() const { return paddedRows(length); }
  __device__ __forceinline__ std::int64_t termsAt(int b, int h, int r) const {
    return (static_cast<std::int64_t>(b) * heads + h) * paddedLength() + r;
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
  __device__ __forceinline__ std::int64_t activityAt(int b, int h, int rowGroup, int span) const {
    return ((static_cast<std::int64_t>(b) * heads + h) * ceilDiv(length, activeRows) + rowGroup) *
               ceilDiv(keys, activeSpan) +
           span;
  }
  // Bit c of low and, from 64 keys on, of high: keys first + 16 c .. of gradKeyTile keys hold a positive weight of the 16 rows
  // of `rowGroup`.
  __device__ __forceinline__ Activity activityOf(int b, int h, int rowGroup, int first) const {
    static_assert(gradKeyTile == 2 * activeSpan, "two bytes of four bits");
    if (activity == nullptr) return {0xf, 0xf};
    if (rowGroup * activeRows >= length) return {0, 0};
    const std::uint8_t* bits = activity + activityAt(b, h, rowGroup, first / activeSpan);
    return {bits[0], first + activeSpan < keys ? bits[1] : 0};
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
  static_cast<LearnedPointers&>(p) = learnedOf(in);
  p.q = pointer<const T>(in.q);
  p.k = pointer<const T>(in.k);
  p.v = pointer<const T>(in.v);
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

inline bool usesTensorCores(const AttentionInputs& in) { return in.q.dtype != DType::f32 && in.sizes.headDim % 8 == 0; }
inline bool decodes(const AttentionInputs& in) { return in.sizes.queryLength == 1; }

// Partial sums of dbias per sequence and head.
std::int64_t gradBiasPartials(const AttentionInputs& in);

// Exact f32 arithmetic on any element type, head sizes up to 256 (attention_exact.cu).
template <class T>
void exactForward(const AttentionProblem<T>& p, cudaStream_t stream);
template <class T>
void exactGrad(const AttentionProblem<T>& p, cudaStream_t stream);
template <class T>
void exactDelta(const AttentionProblem<T>& p, float* delta, cudaStream_t stream);
inline constexpr int exactTile = 32;

// Tensor cores, bf16 and f16, head sizes that are multiples of 8 (attention_forward.cu, attention_grad.cu and, for head
// sizes above 128, attention_grad_wide.cu).
template <class T>
void tensorForward(const AttentionProblem<T>& p, cudaStream_t stream);
template <class T>
void tensorGrad(const AttentionProblem<T>& p, cudaStream_t stream);
template <class T>
void tensorGradWide(const AttentionProblem<T>& p, cudaStream_t stream);
// The same for sm_90a, for some problems (attention_hopper.cu).
inline constexpr int hopperWidestWindow = 7808;
template <class T>
void hopperForward(const AttentionProblem<T>& p, cudaStream_t stream);
// Backward, queries at a time (attention_grad_hopper.cu).
inline constexpr int hopperGradStep = 64;
template <class T>
void hopperGrad(const AttentionProblem<T>& p, cudaStream_t stream);
inline constexpr int wideGradRows = 64;
// Bytes of dqSums and of turns.
std::size_t gradSumsBytes(const AttentionInputs& in);
std::size_t gradTurnsBytes(const AttentionInputs& in);

// One query row per sequence, split over the keys (attention_decode.cu).
std::size_t decodeWorkspace(const AttentionInputs& in);
template <class T>
void decode(const AttentionProblem<T>& p, const Growth& growth, void* workspace, cudaStream_t stream);

}  // namespace gpu
