// The ops of core's contract as plain structs: what a device is asked to compute. Each op is stated once, in ops/*.h, and
// listed once, below; the queue, the dispatch (device.h), the scratch and the arguments from JavaScript come from these.
//
// `fields(f)` visits what JavaScript gives, by its name there, then what comes out:
//   f("x", x)                       a tensor, number, integer, flag, element type, list of tensors or numbers, or Axes
//   f("fn", fn)                     a choice (LAZY_CHOICE), one at most: JavaScript has a function for each of its names
//   f.optional("tau", tau)          a tensor that may be absent
//   f.derive(rows, [&] { ... })     not given, but computed from what is
//   f.output("out", out, size, dtype)         a new tensor
//   f.outputFor(tau, "dtau", dtau)            a new f32 tensor of `tau`'s size, absent where that is
//   f.outputOrGiven("to", to, size, dtype)    a given tensor that is written to, or else a new one; says whether given
// An op with one output returns its number, one with several leaves them in the order of the fields.
//
// Arguments are valid by contract: core has checked shapes, element types, index ranges and ownership. Every tensor is
// dense and row-major. Letters (B, L, S, H, D, W, ...) are those of spec §Shapes and symbols. "Statistics" (bias, tau, losses,
// norms and their gradients) are always f32 here.
#pragma once

#include "lazy_native/ops/arithmetic.h"
#include "lazy_native/ops/attention.h"
#include "lazy_native/ops/decoder.h"
#include "lazy_native/ops/layers.h"

// OP(name in JavaScript, struct). Every device runs these.
#define LAZY_OPS(OP)                         \
  OP(full, Fill)                             \
  OP(cast, Cast)                             \
  OP(copyRows, CopyRows)                     \
  OP(unary, Unary)                           \
  OP(binary, Binary)                         \
  OP(binaryView, BinaryView)                 \
  OP(reduce, Reduce)                         \
  OP(rearrange, Rearrange)                   \
  OP(scale, Scale)                           \
  OP(sumSquares, SumSquares)                 \
  OP(matmul, Matmul)                         \
  OP(rmsNorm, RmsNorm)                       \
  OP(rmsNormGrad, RmsNormGrad)               \
  OP(rope, Rope)                             \
  OP(attention, Attention)                   \
  OP(attentionGrad, AttentionGrad)           \
  OP(attentionWeights, AttentionWeights)     \
  OP(elasticSoftmax, ElasticSoftmax)         \
  OP(elasticSoftmaxGrad, ElasticSoftmaxGrad) \
  OP(swiglu, Swiglu)                         \
  OP(swigluGrad, SwigluGrad)                 \
  OP(embedding, Embedding)                   \
  OP(embeddingGrad, EmbeddingGrad)           \
  OP(crossEntropy, CrossEntropy)             \
  OP(crossEntropyGrad, CrossEntropyGrad)     \
  OP(adamw, AdamW)

// A device may have these (Device::offers).
#define LAZY_FUSED_OPS(OP)       \
  OP(decoderLayer, DecoderLayer) \
  OP(decode, Decode)

namespace lazy_native {

#define LAZY_OP_NAME(name, Op) name,
enum class FusedOp : std::uint8_t { LAZY_FUSED_OPS(LAZY_OP_NAME) };
#undef LAZY_OP_NAME

}  // namespace lazy_native
