// The attention kernels behind a C interface, for programs without Node: tools/gpu calls it from Python, on PyTorch's tensors.
// Functions return 0, or 1 with a message in lazy_attention_error. Shapes and types are as in lazy_native/ops.h.
#include <cstring>
#include <exception>
#include <string>

#include "kernels/kernels.h"

namespace {

thread_local std::string problem;

template <class F>
int guarded(F f) {
  try {
    f();
    return 0;
  } catch (const std::exception& error) {
    problem = error.what();
    return 1;
  }
}

}  // namespace

extern "C" {

// Pointers are the device's; absent ones are null. dtype, of q, k, v, the output and their gradients: 0 f32, 1 bf16, 2 f16.
// path: 0 the kernels of every GPU, 1 those for sm_90a where they take the problem.
struct LazyAttention {
  std::int64_t batch, queryLength, keyLength, keyCapacity, heads, kvHeads, headDim, window;
  std::int64_t dtype, path;
  double scale;
  void *q, *k, *v, *bias, *tau, *sink, *starts, *out, *saved, *dout, *dq, *dk, *dv, *dbias, *dtau, *dsink, *workspace,
      *stream;
};
}

namespace {

using namespace lazy_native;  // NOLINT: the ops are this namespace's vocabulary

constexpr DType types[] = {DType::f32, DType::bf16, DType::f16};

Tensor statistics(void* data, std::int64_t size) { return Tensor{data, data == nullptr ? 0 : size, DType::f32}; }

AttentionInputs inputsOf(const LazyAttention& a) {
  if (a.dtype < 0 || a.dtype > 2) throw Unsupported("dtype is not 0 (f32), 1 (bf16) or 2 (f16)");
  const DType type = types[a.dtype];
  const std::int64_t keys = a.batch * a.keyCapacity * a.kvHeads * a.headDim;
  AttentionInputs in{};
  in.sizes = {a.batch, a.queryLength, a.keyLength, a.keyCapacity, a.heads, a.kvHeads, a.headDim, a.window};
  in.scale = a.scale;
  in.q = Tensor{a.q, a.batch * a.queryLength * a.heads * a.headDim, type};
  in.k = Tensor{a.k, keys, type};
  in.v = Tensor{a.v, keys, type};
  in.bias = statistics(a.bias, a.heads * a.window);
  in.tau = statistics(a.tau, a.heads);
  in.sink = statistics(a.sink, a.heads);
  in.starts = Tensor{a.starts, a.starts == nullptr ? 0 : a.batch * a.queryLength, DType::i32};
  return in;
}

Attention forwardOf(const LazyAttention& a) {
  const AttentionInputs in = inputsOf(a);
  return {in, Tensor{a.out, in.q.size, in.q.dtype}, a.saved};
}

AttentionGrad gradOf(const LazyAttention& a) {
  const AttentionInputs in = inputsOf(a);
  const auto like = [](void* data, const Tensor& x) { return Tensor{data, x.size, x.dtype}; };
  AttentionGrad op{};
  op.in = in;
  op.dout = like(a.dout, in.q);
  op.out = like(a.out, in.q);
  op.saved = a.saved;
  op.dq = like(a.dq, in.q);
  op.dk = like(a.dk, in.k);
  op.dv = like(a.dv, in.v);
  op.gradients.bias = statistics(a.dbias, a.heads * a.window);
  op.gradients.tau = statistics(a.dtau, a.heads);
  op.gradients.sink = statistics(a.dsink, a.heads);
  return op;
}

gpu::AttentionPath pathOf(const LazyAttention& a) {
  if (a.path < 0 || a.path > 1) throw Unsupported("path is not 0 (mma) or 1 (hopper)");
  return a.path == 1 ? gpu::AttentionPath::hopper : gpu::AttentionPath::mma;
}
cudaStream_t streamOf(const LazyAttention& a) { return static_cast<cudaStream_t>(a.stream); }

}  // namespace

#define LAZY_EXPORT extern "C" __attribute__((visibility("default")))

LAZY_EXPORT const char* lazy_attention_error() { return problem.c_str(); }

// Bytes of `saved`, and of `workspace` for the forward pass (with `saved` or without) and for the gradient.
LAZY_EXPORT int lazy_attention_bytes(const LazyAttention* a, std::size_t* saved, std::size_t* forward,
                                     std::size_t* grad) {
  return guarded([&] {
    *saved = gpu::savedBytes(inputsOf(*a));
    *forward = gpu::workspace(forwardOf(*a));
    *grad = gpu::workspace(gradOf(*a));
  });
}

LAZY_EXPORT int lazy_attention_forward(const LazyAttention* a) {
  return guarded([&] { gpu::run(forwardOf(*a), a->workspace, streamOf(*a), pathOf(*a)); });
}

LAZY_EXPORT int lazy_attention_grad(const LazyAttention* a) {
  return guarded([&] { gpu::run(gradOf(*a), a->workspace, streamOf(*a), pathOf(*a)); });
}
