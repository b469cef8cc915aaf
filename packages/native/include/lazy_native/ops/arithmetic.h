// Filling, copying, elementwise arithmetic, the four open primitives, and matrix products.
#pragma once

#include "lazy_native/ops/tensor.h"

namespace lazy_native {

// The functions of core's contract/primitives.ts, which says what each computes. One more is one more name here, and a line
// in each backend.
// clang-format off
#define LAZY_UNARY_FUNCTIONS(FN) \
  FN(neg) \
  FN(exp) \
  FN(log) \
  FN(sqrt) \
  FN(rsqrt) \
  FN(abs) \
  FN(sign) \
  FN(sin) \
  FN(cos) \
  FN(tanh) \
  FN(sigmoid) \
  FN(softplus) \
  FN(relu) \
  FN(silu) \
  FN(gelu) \
  FN(reciprocal) \
  FN(square)
#define LAZY_BINARY_FUNCTIONS(FN) \
  FN(add) \
  FN(sub) \
  FN(mul) \
  FN(div) \
  FN(pow) \
  FN(max) \
  FN(min) \
  FN(less) \
  FN(lessEqual) \
  FN(equal) \
  FN(keep)
#define LAZY_REDUCE_FUNCTIONS(FN) \
  FN(sum) \
  FN(mean) \
  FN(max) \
  FN(min) \
  FN(logSumExp) \
  FN(argmax)
// clang-format on
LAZY_CHOICE(UnaryFunction, LAZY_UNARY_FUNCTIONS)
LAZY_CHOICE(BinaryFunction, LAZY_BINARY_FUNCTIONS)
LAZY_CHOICE(ReduceFunction, LAZY_REDUCE_FUNCTIONS)

// out = fn(x), element by element; floating types.
struct Unary {
  Tensor x;
  UnaryFunction fn;
  Tensor out;

  template <class F>
  void fields(F& f) {
    f("x", x);
    f("fn", fn);
    f.output("out", out, x.size, x.dtype);
  }
};

// out = fn(a, b), all of one shape and one floating type. An op of its own because a view triples what is queued, which
// is most of what launching a small op costs.
struct Binary {
  Tensor a, b;
  BinaryFunction fn;
  Tensor out;

  template <class F>
  void fields(F& f) {
    f("a", a);
    f("b", b);
    f("fn", fn);
    f.output("out", out, a.size, a.dtype);
  }
};

// The same with operands that repeat or lie apart. Entry (i0, i1, ...) of `sizes`, counted through in order, reads a at
// sum(i * stridesA) and b at sum(i * stridesB).
struct BinaryView {
  Tensor a, b;
  BinaryFunction fn;
  Axes sizes, stridesA, stridesB;
  Tensor out;

  template <class F>
  void fields(F& f) {
    f("a", a);
    f("b", b);
    f("fn", fn);
    f("sizes", sizes);
    f("stridesA", stridesA);
    f("stridesB", stridesB);
    f.output("out", out, productOf(sizes), a.dtype);
  }
};

// x seen as [outer, length, inner], reduced over `length`: out has outer * inner entries, of x's type or f32; i32 for argmax.
struct Reduce {
  Tensor x;
  ReduceFunction fn;
  std::int64_t outer, length, inner;
  Tensor out;

  template <class F>
  void fields(F& f) {
    DType dtype{};
    f("x", x);
    f("fn", fn);
    f("outer", outer);
    f("length", length);
    f("inner", inner);
    f("dtype", dtype);
    f.output("out", out, times(outer, inner), dtype);
  }
};

// out[i0, i1, ...] = x[sum(i * strides)]: permute and broadcast. All dtypes.
struct Rearrange {
  Tensor x;
  Axes sizes, strides;
  Tensor out;

  template <class F>
  void fields(F& f) {
    f("x", x);
    f("sizes", sizes);
    f("strides", strides);
    f.output("out", out, productOf(sizes), x.dtype);
  }
};

// out[...] = value.
struct Fill {
  Tensor out;
  double value;

  template <class F>
  void fields(F& f) {
    std::int64_t size = 0;
    DType dtype{};
    f("size", size);
    f("value", value);
    f("dtype", dtype);
    f.output("out", out, size, dtype);
  }
};

// Between floating types, to nearest, ties to even.
struct Cast {
  Tensor x, out;

  template <class F>
  void fields(F& f) {
    DType dtype{};
    f("x", x);
    f("dtype", dtype);
    f.output("out", out, x.size, dtype);
  }
};

// to[o, toStart + j, i] = from[o, fromStart + j, i] for o < outer, j < count, i < inner. Serves slice and copyInto, all
// dtypes. `inner` counts elements.
struct CopyRows {
  Tensor from, to;
  std::int64_t outer, inner, count, fromLength, fromStart, toLength, toStart;

  template <class F>
  void fields(F& f) {
    f("from", from);
    f("outer", outer);
    f("inner", inner);
    f("count", count);
    f("fromLength", fromLength);
    f("fromStart", fromStart);
    f("toLength", toLength);
    f("toStart", toStart);
    f.outputOrGiven("to", to, times(outer, toLength, inner), from.dtype);
  }
};

// out = x * factor.
struct Scale {
  Tensor x, out;
  double factor;

  template <class F>
  void fields(F& f) {
    f("x", x);
    f("factor", factor);
    f.output("out", out, x.size, x.dtype);
  }
};

// out[0] (f32) = sum of the squares of all elements of all xs.
struct SumSquares {
  std::vector<Tensor> xs;
  Tensor out;

  template <class F>
  void fields(F& f) {
    f("xs", xs);
    f.output("out", out, 1, DType::f32);
  }
};

// out[b] = op(a[b]) . op(b[b]) (+ out[b] when accumulate). a is [batch, m, k] or, when transposeA, [batch, k, m]; b is
// [batch, k, n] or, when transposeB, [batch, n, k].
struct Matmul {
  Tensor a, b, out;
  std::int64_t batch, m, n, k;
  bool transposeA, transposeB, accumulate;

  template <class F>
  void fields(F& f) {
    f("a", a);
    f("b", b);
    f("batch", batch);
    f("m", m);
    f("n", n);
    f("k", k);
    f("transposeA", transposeA);
    f("transposeB", transposeB);
    accumulate = f.outputOrGiven("accumulate", out, times(batch, m, n), a.dtype);
  }
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

  template <class F>
  void fields(F& f) {
    std::vector<Tensor> params, grads, ms, vs;
    std::vector<double> weightDecays;
    f("params", params);
    f("grads", grads);
    f("ms", ms);
    f("vs", vs);
    f("weightDecays", weightDecays);
    f("learningRate", learningRate);
    f("beta1", beta1);
    f("beta2", beta2);
    f("epsilon", epsilon);
    f("correction1", correction1);
    f("correction2", correction2);
    f.optional("normSquared", normSquared);
    f("maxNorm", maxNorm);
    for (const std::size_t count : {grads.size(), ms.size(), vs.size(), weightDecays.size()})
      if (count != params.size()) throw std::invalid_argument("lists of tensors of different lengths");
    for (std::size_t i = 0; i < params.size(); ++i)
      updates.push_back({params[i], grads[i], ms[i], vs[i], weightDecays[i]});
  }
};

}  // namespace lazy_native
