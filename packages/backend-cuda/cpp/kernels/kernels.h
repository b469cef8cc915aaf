// Every op as a host function that launches its kernels on a stream. Structs are the native layer's (ops.h).
#pragma once

#include <cstddef>

#include "device/check.h"
#include "lazy_native/errors.h"
#include "lazy_native/ops.h"

namespace gpu {

using namespace lazy_native;  // NOLINT: the ops are this namespace's vocabulary

void run(const Fill& op, cudaStream_t stream);
void run(const Cast& op, cudaStream_t stream);
void run(const CopyRows& op, cudaStream_t stream);
void run(const Scale& op, cudaStream_t stream);
void run(const Swiglu& op, cudaStream_t stream);
void run(const SwigluGrad& op, cudaStream_t stream);
void run(const AdamW& op, cudaStream_t stream);
void run(const Rope& op, cudaStream_t stream);
void run(const Embedding& op, cudaStream_t stream);
void run(const EmbeddingGrad& op, cudaStream_t stream);
void run(const RmsNorm& op, cudaStream_t stream);
void run(const ElasticSoftmax& op, cudaStream_t stream);
void run(const AttentionWeights& op, cudaStream_t stream);
void run(const CrossEntropyGrad& op, cudaStream_t stream);

// The open primitives.
void run(const Unary& op, cudaStream_t stream);
void run(const Binary& op, cudaStream_t stream);
void run(const BinaryView& op, cudaStream_t stream);
void run(const Rearrange& op, cudaStream_t stream);

// Which kernels attention in bf16 and f16 takes where both can: those of every GPU, or for sm_90a alone.
enum class AttentionPath { mma, hopper };
// Which kernels an attention takes: exact f32 arithmetic, tensor cores by mma.sync or by wgmma, or those for one query.
enum class AttentionWay { exact, mma, hopper, decode };
AttentionWay wayOf(const Attention& op, AttentionPath path);
AttentionWay wayOf(const AttentionGrad& op, AttentionPath path);
// Whose matrix product.
enum class ProductWay { own, cublasLt };

// Ops with scratch: its size in bytes, and the op.
std::size_t workspace(const Reduce& op);
void run(const Reduce& op, void* workspace, cudaStream_t stream);
std::size_t workspace(const SumSquares& op);
void run(const SumSquares& op, void* workspace, cudaStream_t stream);
std::size_t workspace(const RmsNormGrad& op);
void run(const RmsNormGrad& op, void* workspace, cudaStream_t stream);
std::size_t workspace(const ElasticSoftmaxGrad& op);
void run(const ElasticSoftmaxGrad& op, void* workspace, cudaStream_t stream);
std::size_t workspace(const CrossEntropy& op);
void run(const CrossEntropy& op, void* workspace, cudaStream_t stream);
std::size_t workspace(const Attention& op);
void run(const Attention& op, void* workspace, cudaStream_t stream, AttentionPath path = AttentionPath::mma);
std::size_t workspace(const AttentionGrad& op);
void run(const AttentionGrad& op, void* workspace, cudaStream_t stream, AttentionPath path = AttentionPath::mma);

// What changes from token to token lies in device memory, for a graph is recorded once and launched for each: steps[b] of `most`
// tokens are drawn for row b. Sizes of a launch are those of the last. nullptr: nothing grows.
struct Growth {
  std::int32_t* steps = nullptr;
  std::int64_t most = 1;
};
// One query row per sequence, without what a gradient needs, over the keyLength - most + 1 + steps[b] first keys, with starts
// [most, B]. Takes the scratch of `Attention`.
void attendGrowing(const Attention& op, const Growth& growth, void* workspace, cudaStream_t stream);

// What attention keeps for its gradient: lse [B, H, L] f32 in up to two parts, then u (spec §Backward) and
// a = sum m p v, like q, where tau is given.
std::size_t savedBytes(const AttentionInputs& in);

// The backend's own matrix product, used where cuBLASLt is absent.
void run(const Matmul& op, cudaStream_t stream);

// Parts of a decoder layer (decoder.cu). q [B, L, H, D] is rotated in place, k and v [B, L, Hkv, D] go into the layer's cache, k
// rotated: positions op.position + steps[b] + l.
void appendTokens(const DecoderLayer& op, const Tensor& q, const Tensor& k, const Tensor& v, const Growth& growth,
                  cudaStream_t stream);
// The same parts with the products before and after them, for few rows and widths that are whole loads (thin.cu); in place on x and the
// cache. `decodesThin` says whether they take a layer.
bool decodesThin(const DecoderLayer& op);
// q, and the cache's new rows, of the norm of op.x.
void projectThin(const DecoderLayer& op, const Tensor& q, const Growth& growth, cudaStream_t stream);
// x [B, C] += input times weight.
void addThin(const Tensor& input, const Tensor& weight, const Tensor& x, std::int64_t batch, cudaStream_t stream);
// out [B, I] = silu(gate) * up of the norm of op.x.
void gateThin(const DecoderLayer& op, const Tensor& out, cudaStream_t stream);
void logitsThin(const Decode& op, const Tensor& x, const Tensor& logits, cudaStream_t stream);

// Draws a token for each row of logits [B, V] into row steps[b] of op.out, leaves its embedding in x [B, C] and counts the step.
// `uniforms` [steps, B] are on the device, and not read with temperature 0.
void drawTokens(const Decode& op, const Tensor& logits, const double* uniforms, std::int32_t* steps, const Tensor& x,
                cudaStream_t stream);

// out[i] (f32) = sum over `count` of partial[c * size + i], c ascending. The last step of every split sum.
void sumPartials(const float* partial, float* out, std::int64_t count, std::int64_t size, cudaStream_t stream);

// out[0] (f32) = sum of all elements of x, over as many blocks as there are partial sums.
std::int64_t partialSums(const Tensor& x);
void sumAll(const Tensor& x, float* partial, const Tensor& out, cudaStream_t stream);

// out[h] = sum over b and r of rows[b, h, r].
void sumHeads(const float* rows, float* out, std::int64_t batch, std::int64_t heads, std::int64_t length,
              cudaStream_t stream);

}  // namespace gpu
