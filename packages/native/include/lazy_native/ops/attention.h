// Lazy Attention (spec §Forward, spec §Backward) and Elastic-Softmax on given scores.
#pragma once

#include "lazy_native/ops/tensor.h"

namespace lazy_native {

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
  Tensor sink;    // [H] f32, or absent (spec §Sink logit)
  Tensor starts;  // [B, L] i32, or absent

  template <class F>
  void fields(F& f) {
    f("q", q);
    f("k", k);
    f.optional("v", v);
    f.optional("bias", bias);
    f.optional("tau", tau);
    f.optional("sink", sink);
    f.optional("starts", starts);
    f("scale", scale);
    f("batch", sizes.batch);
    f("queryLength", sizes.queryLength);
    f("keyLength", sizes.keyLength);
    f("keyCapacity", sizes.keyCapacity);
    f("heads", sizes.heads);
    f("kvHeads", sizes.kvHeads);
    f("headDim", sizes.headDim);
    f("window", sizes.window);
  }
};

// `saved` is absent for inference. Its layout is the device's own; `Device::savedBytes` says how large it is.
struct Attention {
  AttentionInputs in;
  Tensor out;
  void* saved;

  template <class F>
  void fields(F& f) {
    bool save = false;
    in.fields(f);
    f("save", save);
    f.output("output", out, in.q.size, in.q.dtype);
    f.saved("saved", saved, in, save);
  }
};

struct AttentionGrad {
  AttentionInputs in;
  Tensor dout, out;
  const void* saved;
  Tensor dq, dk, dv;
  Tensor dbias, dtau, dsink;  // [H, W] and [H] f32; absent where the input was

  template <class F>
  void fields(F& f) {
    Tensor memory;
    in.fields(f);
    f("dOutput", dout);
    f("output", out);
    f("saved", memory);
    saved = memory.data;
    f.output("dq", dq, in.q.size, in.q.dtype);
    f.output("dk", dk, in.k.size, in.k.dtype);
    f.output("dv", dv, in.v.size, in.v.dtype);
    f.outputFor(in.bias, "dbias", dbias);
    f.outputFor(in.tau, "dtau", dtau);
    f.outputFor(in.sink, "dsink", dsink);
  }
};

// out is w, [B, H, L, S] f32; keys that are not attended weigh 0. in.v is absent.
struct AttentionWeights {
  AttentionInputs in;
  Tensor out;

  template <class F>
  void fields(F& f) {
    in.fields(f);
    f.output("out", out, in.sizes.batch * in.sizes.heads * in.sizes.queryLength * in.sizes.keyLength, DType::f32);
  }
};

// scores [batch, heads, queryLength, keyLength]; row r attends keys starts..r + keyLength - queryLength.
struct ElasticSoftmax {
  Tensor scores, tau, starts, out;
  std::int64_t batch, heads, queryLength, keyLength;

  template <class F>
  void fields(F& f) {
    f("scores", scores);
    f.optional("tau", tau);
    f.optional("starts", starts);
    f("batch", batch);
    f("heads", heads);
    f("queryLength", queryLength);
    f("keyLength", keyLength);
    f.output("out", out, scores.size, scores.dtype);
  }
};

struct ElasticSoftmaxGrad {
  Tensor dweights, scores, tau, starts, dscores, dtau;
  std::int64_t batch, heads, queryLength, keyLength;

  template <class F>
  void fields(F& f) {
    f("dWeights", dweights);
    f("scores", scores);
    f.optional("tau", tau);
    f.optional("starts", starts);
    f("batch", batch);
    f("heads", heads);
    f("queryLength", queryLength);
    f("keyLength", keyLength);
    f.output("dscores", dscores, scores.size, scores.dtype);
    f.outputFor(tau, "dtau", dtau);
  }
};

}  // namespace lazy_native
