// Fused decoding: optional ops, each a sequence of others in one launch.
#pragma once

#include "lazy_native/ops/attention.h"
#include "lazy_native/ops/tensor.h"

namespace lazy_native {

// A decoder layer on `length` new tokens, in place on x [batch, length, width] and the cache: DecoderLayerInputs of core's
// contract. Linear weights are [out, in].
struct DecoderLayer : Learned {
  std::int64_t batch, length, width, capacity, heads, kvHeads, headDim, inner, window, position;
  double epsilon;
  double ropeBase;  // 0: nothing is rotated
  Tensor x, keys, values;
  Tensor starts;  // or absent
  Tensor attentionNorm, q, k, v, o, mlpNorm, gate, up, down;

  // What each layer has of its own.
  template <class F>
  void operands(F& f) {
    f("keys", keys);
    f("values", values);
    learnedFields(f);
    f("attentionNorm", attentionNorm);
    f("q", q);
    f("k", k);
    f("v", v);
    f("o", o);
    f("mlpNorm", mlpNorm);
    f("gate", gate);
    f("up", up);
    f("down", down);
  }
  // What all layers of a model share.
  template <class F>
  void problem(F& f) {
    f("batch", batch);
    f("length", length);
    f("width", width);
    f("capacity", capacity);
    f("heads", heads);
    f("kvHeads", kvHeads);
    f("headDim", headDim);
    f("inner", inner);
    f("window", window);
    f("position", position);
    f("epsilon", epsilon);
    f("ropeBase", ropeBase);
  }
  template <class F>
  void fields(F& f) {
    f("x", x);
    f.optional("starts", starts);
    operands(f);
    problem(f);
  }
};

// Draws `steps` tokens per row: DecodeInputs of core's contract.
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

  template <class F>
  void fields(F& f) {
    DecoderLayer layer{};
    f("tokens", tokens);
    f.optional("starts", starts);
    f("embeddings", embeddings);
    f("norm", norm);
    f("head", head);
    f("vocabulary", vocabulary);
    f("steps", steps);
    f("temperature", temperature);
    f("topK", topK);
    f("topP", topP);
    f("uniforms", uniforms);
    layer.problem(f);
    f.each("layers", layers, layer, [](DecoderLayer& one, auto& operand) { one.operands(operand); });
    f.output("out", out, times(steps, layer.batch), DType::i32);
  }
};

}  // namespace lazy_native
