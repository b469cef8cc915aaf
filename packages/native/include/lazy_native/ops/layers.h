// Layers of a model beside attention, and the loss.
#pragma once

#include "lazy_native/ops/tensor.h"

namespace lazy_native {

// x is [rows, width]; weight is [width].
struct RmsNorm {
  Tensor x, weight, out;
  std::int64_t rows, width;
  double epsilon;

  template <class F>
  void fields(F& f) {
    f("x", x);
    f("weight", weight);
    f("epsilon", epsilon);
    f.derive(width, [&] { return weight.size; });
    f.derive(rows, [&] { return quotient(x.size, width); });
    f.output("out", out, x.size, x.dtype);
  }
};

struct RmsNormGrad {
  Tensor dy, x, weight, dx, dweight;
  std::int64_t rows, width;
  double epsilon;

  template <class F>
  void fields(F& f) {
    f("dy", dy);
    f("x", x);
    f("weight", weight);
    f("epsilon", epsilon);
    f.derive(width, [&] { return weight.size; });
    f.derive(rows, [&] { return quotient(x.size, width); });
    f.output("dx", dx, x.size, x.dtype);
    f.output("dweight", dweight, weight.size, weight.dtype);
  }
};

// x is [batch, length, heads, headDim]; row r has position offset + r; angle = position * base^(-2d/D), negated when
// inverse. Angles must be good to f32 at position 1e6, so compute them in double or with a reduction that is as good.
struct Rope {
  Tensor x, out;
  std::int64_t batch, length, heads, headDim, offset;
  double base;
  bool inverse;

  template <class F>
  void fields(F& f) {
    f("x", x);
    f("batch", batch);
    f("length", length);
    f("heads", heads);
    f("headDim", headDim);
    f("offset", offset);
    f("base", base);
    f("inverse", inverse);
    f.output("out", out, x.size, x.dtype);
  }
};

struct Swiglu {
  Tensor gate, up, out;

  template <class F>
  void fields(F& f) {
    f("gate", gate);
    f("up", up);
    f.output("out", out, gate.size, gate.dtype);
  }
};

struct SwigluGrad {
  Tensor dy, gate, up, dgate, dup;

  template <class F>
  void fields(F& f) {
    f("dy", dy);
    f("gate", gate);
    f("up", up);
    f.output("dgate", dgate, gate.size, gate.dtype);
    f.output("dup", dup, up.size, up.dtype);
  }
};

// weight [vocabulary, width], ids [count] i32 -> out [count, width].
struct Embedding {
  Tensor weight, ids, out;
  std::int64_t vocabulary, width, count;

  template <class F>
  void fields(F& f) {
    f("weight", weight);
    f("ids", ids);
    f("vocabulary", vocabulary);
    f.derive(width, [&] { return quotient(weight.size, vocabulary); });
    f.derive(count, [&] { return ids.size; });
    f.output("out", out, times(count, width), isPackedType(weight.dtype) ? DType::f32 : weight.dtype);
  }
};

// dweight [vocabulary, width]: rows of dy [count, width] summed by id, in the order of the ids.
struct EmbeddingGrad {
  Tensor dy, ids, dweight;
  std::int64_t vocabulary, width, count;

  template <class F>
  void fields(F& f) {
    f("dy", dy);
    f("ids", ids);
    f("vocabulary", vocabulary);
    f.derive(count, [&] { return ids.size; });
    f.derive(width, [&] { return quotient(dy.size, count); });
    f.output("dweight", dweight, times(vocabulary, width), dy.dtype);
  }
};

// logits [rows, vocabulary], targets [rows] i32; loss [] and lse [rows] are f32.
struct CrossEntropy {
  Tensor logits, targets, loss, lse;
  std::int64_t rows, vocabulary, ignoreIndex, count;

  template <class F>
  void fields(F& f) {
    f("logits", logits);
    f("targets", targets);
    f("ignoreIndex", ignoreIndex);
    f("count", count);
    f.derive(rows, [&] { return targets.size; });
    f.derive(vocabulary, [&] { return quotient(logits.size, rows); });
    f.output("loss", loss, 1, DType::f32);
    f.output("lse", lse, rows, DType::f32);
  }
};

struct CrossEntropyGrad {
  Tensor dloss, logits, targets, lse, dlogits;
  std::int64_t rows, vocabulary, ignoreIndex, count;

  template <class F>
  void fields(F& f) {
    f("dLoss", dloss);
    f("logits", logits);
    f("targets", targets);
    f("lse", lse);
    f("ignoreIndex", ignoreIndex);
    f("count", count);
    f.derive(rows, [&] { return targets.size; });
    f.derive(vocabulary, [&] { return quotient(logits.size, rows); });
    f.output("dlogits", dlogits, logits.size, logits.dtype);
  }
};

}  // namespace lazy_native
