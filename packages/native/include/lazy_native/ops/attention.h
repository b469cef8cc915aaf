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

// What attention may be given to learn (LEARNED_INPUTS of core), all f32, each absent or there; also the gradients of these.
struct Learned {
  Tensor bias;  // [H, W]
  Tensor tau;   // [H]; absent: plain softmax
  Tensor sink;  // [H], spec §Sink logit

  // Calls visit(name, name of the gradient, member) for each.
  template <class Visit>
  static void each(const Visit& visit) {
    visit("bias", "dbias", &Learned::bias);
    visit("tau", "dtau", &Learned::tau);
    visit("sink", "dsink", &Learned::sink);
  }
  template <class F>
  void learnedFields(F& f) {
    each([&](const char* name, const char*, Tensor Learned::* member) { f.optional(name, this->*member); });
  }
};

struct AttentionInputs : Learned {
  AttentionSizes sizes;
  double scale;
  Tensor q;       // [B, L, H, D]
  Tensor k, v;    // [B, keyCapacity, Hkv, D]
  Tensor starts;  // [B, L] i32, or absent

  template <class F>
  void fields(F& f) {
    f("q", q);
    f("k", k);
    f.optional("v", v);
    learnedFields(f);
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
  Learned gradients;  // absent where the input was

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
    Learned::each([&](const char*, const char* gradient, Tensor Learned::* member) {
      f.outputFor(in.*member, gradient, gradients.*member);
    });
  }
};

// out is w, [B, H, L, S] f32; keys that are not attended weigh 0. in.v is absent.
struct AttentionWeights {
  AttentionInputs in;
  Tensor out;

  template <class F>
  void fields(F& f) {
    in.fields(f);
    f.output("out", out, times(in.sizes.batch, in.sizes.heads, in.sizes.queryLength, in.sizes.keyLength), DType::f32);
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
