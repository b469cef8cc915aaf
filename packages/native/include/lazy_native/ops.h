// The ops of packages/core/src/kernels.ts as plain structs: what a device is asked to compute.
//
// Arguments are valid by contract: core has checked shapes, element types, index ranges and ownership. Every tensor is
// dense and row-major. Letters (B, L, S, H, D, W, ...) are those of spec §Shapes and symbols and kernels.ts, which hold the mathematics.
// "Statistics" (bias, tau, losses, norms and their gradients) are always f32 here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lazy_native {

enum class DType : std::uint8_t { f32, bf16, f16, i32 };

inline constexpr std::size_t bytesPerElement(DType dtype) { return dtype == DType::f32 || dtype == DType::i32 ? 4 : 2; }

// Device memory as an op sees it. `data` is a device address; nullptr stands for an optional tensor that is absent.
struct Tensor {
  void* data = nullptr;
  std::int64_t size = 0;  // elements
  DType dtype = DType::f32;

  explicit operator bool() const { return data != nullptr; }
  std::size_t bytes() const { return static_cast<std::size_t>(size) * bytesPerElement(dtype); }
};

// out[...] = value.
struct Fill {
  Tensor out;
  double value;
};

// Between floating types, to nearest, ties to even.
struct Cast {
  Tensor x, out;
};

// to[o, toStart + j, i] = from[o, fromStart + j, i] for o < outer, j < count, i < inner. Serves slice and copyInto, all
// dtypes. `inner` counts elements.
struct CopyRows {
  Tensor from, to;
  std::int64_t outer, inner, count, fromLength, fromStart, toLength, toStart;
};

// out = a + b, or a * b. f32, bf16, f16; add and mul on i32 are exact.
struct Binary {
  enum class Kind : std::uint8_t { add, mul } kind;
  Tensor a, b, out;
};

// out = x * factor.
struct Scale {
  Tensor x, out;
  double factor;
};

// out[0] (f32) = sum of all elements of x.
struct Sum {
  Tensor x, out;
};

// out[...] = dy[0], converted to out's type.
struct Broadcast {
  Tensor dy, out;
};

// out[0] (f32) = sum of the squares of all elements of all xs.
struct SumSquares {
  std::vector<Tensor> xs;
  Tensor out;
};

// out[b] = op(a[b]) . op(b[b]) (+ out[b] when accumulate). a is [batch, m, k] or, when transposeA, [batch, k, m]; b is
// [batch, k, n] or, when transposeB, [batch, n, k].
struct Matmul {
  Tensor a, b, out;
  std::int64_t batch, m, n, k;
  bool transposeA, transposeB, accumulate;
};

// x is [rows, width]; weight is [width].
struct RmsNorm {
  Tensor x, weight, out;
  std::int64_t rows, width;
  double epsilon;
};

struct RmsNormGrad {
  Tensor dy, x, weight, dx, dweight;
  std::int64_t rows, width;
  double epsilon;
};

// x is [batch, length, heads, headDim]; row r has position offset + r; angle = position * base^(-2d/D), negated when
// inverse. Angles must be good to f32 at position 1e6, so compute them in double or with a reduction that is as good.
struct Rope {
  Tensor x, out;
  std::int64_t batch, length, heads, headDim, offset;
  double base;
  bool inverse;
};

struct AttentionSizes {
  std::int64_t batch;        // B
  std::int64_t queryLength;  // L
  std::int64_t keyLength;    // S: keys in use; query row r has absolute position r + S - L
  std::int64_t keyCapacity;  // rows that k and v have room for, >= S
  std::int64_t heads;        // H
  std::int64_t kvHeads;      // Hkv, divides H
  std::int64_t headDim;      // D: multiple of 4, at most 256
  std::int64_t window;       // W, 0 without bias
};

struct AttentionInputs {
  AttentionSizes sizes;
  double scale;
  Tensor q;       // [B, L, H, D]
  Tensor k, v;    // [B, keyCapacity, Hkv, D]
  Tensor bias;    // [H, W] f32, or absent
  Tensor tau;     // [H] f32, or absent (plain softmax)
  Tensor starts;  // [B, L] i32, or absent
};

// `saved` is absent for inference. Its layout is the device's own; `Device::savedBytes` says how large it is.
struct Attention {
  AttentionInputs in;
  Tensor out;
  void* saved;
};

struct AttentionGrad {
  AttentionInputs in;
  Tensor dout, out;
  const void* saved;
  Tensor dq, dk, dv;
  Tensor dbias, dtau;  // [H, W] and [H] f32; absent where the input was
};

// out is w, [B, H, L, S] f32; keys that are not attended weigh 0. in.v is absent.
struct AttentionWeights {
  AttentionInputs in;
  Tensor out;
};

// scores [batch, heads, queryLength, keyLength]; row r attends keys starts..r + keyLength - queryLength.
struct ElasticSoftmax {
  Tensor scores, tau, starts, out;
  std::int64_t batch, heads, queryLength, keyLength;
};

struct ElasticSoftmaxGrad {
  Tensor dweights, scores, tau, starts, dscores, dtau;
  std::int64_t batch, heads, queryLength, keyLength;
};

struct Swiglu {
  Tensor gate, up, out;
};

struct SwigluGrad {
  Tensor dy, gate, up, dgate, dup;
};

// weight [vocabulary, width], ids [count] i32 -> out [count, width].
struct Embedding {
  Tensor weight, ids, out;
  std::int64_t vocabulary, width, count;
};

// dweight [vocabulary, width]: rows of dy [count, width] summed by id, in the order of the ids.
struct EmbeddingGrad {
  Tensor dy, ids, dweight;
  std::int64_t vocabulary, width, count;
};

// logits [rows, vocabulary], targets [rows] i32; loss [] and lse [rows] are f32.
struct CrossEntropy {
  Tensor logits, targets, loss, lse;
  std::int64_t rows, vocabulary, ignoreIndex, count;
};

struct CrossEntropyGrad {
  Tensor dloss, logits, targets, lse, dlogits;
  std::int64_t rows, vocabulary, ignoreIndex, count;
};

// A decoder layer on `length` new tokens, in place on x [batch, length, width] and the cache: DecoderLayerInputs of kernels.ts.
// Linear weights are [out, in]. For devices that fuse it (Device::fusesDecoderLayer).
struct DecoderLayer {
  std::int64_t batch, length, width, capacity, heads, kvHeads, headDim, inner, window, position;
  double epsilon;
  double ropeBase;  // 0: nothing is rotated
  Tensor x, keys, values;
  Tensor bias, tau, starts;  // or absent
  Tensor attentionNorm, q, k, v, o, mlpNorm, gate, up, down;
};

// Draws `steps` tokens per row: DecodeInputs of kernels.ts. For devices that fuse it (Device::fusesDecoding).
struct Decode {
  // Sizes with length 1, position, epsilon, ropeBase and weights of each layer; without x and starts.
  std::vector<DecoderLayer> layers;
  std::int64_t vocabulary, steps;
  Tensor tokens;  // [batch] i32
  Tensor starts;  // [steps, batch] i32, or absent
  Tensor embeddings, norm, head;
  Tensor out;  // [steps, batch] i32; -1 - id where the logit of id is NaN
  double temperature, topP;
  std::int64_t topK;             // at most vocabulary
  std::vector<double> uniforms;  // [steps, batch]; empty with temperature 0
};

// All f32, in place on param, m and v.
struct AdamW {
  struct Update {
    Tensor param, grad, m, v;
    double weightDecay;
  };
  std::vector<Update> updates;
  double learningRate, beta1, beta2, epsilon, correction1, correction2;
  Tensor normSquared;  // [] f32; absent without clipping
  double maxNorm;
};

}  // namespace lazy_native
