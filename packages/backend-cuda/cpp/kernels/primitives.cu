// The open primitives unary, binary and rearrange: what each function computes is said in core's contract/primitives.ts.
// Arithmetic is f32. Contiguous operands go through map.h; others by an element a thread, which finds its place in the view.
#include "kernels/map.h"

namespace gpu {

namespace {

constexpr int threads = 256;

// One line per name of LAZY_UNARY_FUNCTIONS and LAZY_BINARY_FUNCTIONS. Comparisons are such that NaN stays what it is.
namespace functions {
#define LAZY_UNARY(name, expression)                                  \
  struct name {                                                       \
    __device__ float operator()(float x) const { return expression; } \
  };
LAZY_UNARY(neg, -x)
LAZY_UNARY(exp, expf(x))
LAZY_UNARY(log, logf(x))
LAZY_UNARY(sqrt, sqrtf(x))
LAZY_UNARY(rsqrt, 1 / sqrtf(x))
LAZY_UNARY(abs, fabsf(x))
LAZY_UNARY(sign, x > 0 ? 1.0f : x < 0 ? -1.0f : x)
LAZY_UNARY(sin, sinf(x))
LAZY_UNARY(cos, cosf(x))
LAZY_UNARY(tanh, tanhf(x))
LAZY_UNARY(sigmoid, 1 / (1 + expf(-x)))
LAZY_UNARY(softplus, nanMax(x, 0.0f) + log1pf(expf(-fabsf(x))))
LAZY_UNARY(relu, nanMax(x, 0.0f))
LAZY_UNARY(silu, x * (1 / (1 + expf(-x))))
LAZY_UNARY(gelu, x / 2 * erfcf(-x * 0.70710678118654752440f))
LAZY_UNARY(reciprocal, 1 / x)
LAZY_UNARY(square, x* x)
#undef LAZY_UNARY
}  // namespace functions

namespace pairs {
#define LAZY_BINARY(name, expression)                                          \
  struct name {                                                                \
    __device__ float operator()(float a, float b) const { return expression; } \
  };
LAZY_BINARY(add, a + b)
LAZY_BINARY(sub, a - b)
LAZY_BINARY(mul, a* b)
LAZY_BINARY(div, a / b)
// IEEE's pow takes NaN to the power 0, and 1 to the power NaN, for 1.
LAZY_BINARY(pow, a != a || b != b ? NAN : powf(a, b))
LAZY_BINARY(max, nanMax(a, b))
LAZY_BINARY(min, nanMin(a, b))
LAZY_BINARY(less, a < b ? 1.0f : 0.0f)
LAZY_BINARY(lessEqual, a <= b ? 1.0f : 0.0f)
LAZY_BINARY(equal, a == b ? 1.0f : 0.0f)
LAZY_BINARY(keep, a != 0 ? b : 0.0f)
#undef LAZY_BINARY
}  // namespace pairs

// F on the elements of a type.
template <class F, class T>
struct Of {
  template <class... X>
  __device__ T operator()(X... x) const {
    return fromFloat<T>(F{}(toFloat(x)...));
  }
};

// Where entry i of a view reads up to two operands.
struct View {
  int axes;
  std::int64_t sizes[Axes::most], strides[2][Axes::most];

  __device__ __forceinline__ void find(std::int64_t i, std::int64_t (&at)[2]) const {
    at[0] = at[1] = 0;
    for (int axis = axes - 1; axis >= 0; --axis) {
      const std::int64_t rest = i / sizes[axis], index = i - rest * sizes[axis];
      at[0] += index * strides[0][axis];
      at[1] += index * strides[1][axis];
      i = rest;
    }
  }
};
View viewOf(const Axes& sizes, const Axes& a, const Axes& b) {
  View view{};
  view.axes = static_cast<int>(sizes.count);
  for (int axis = 0; axis < view.axes; ++axis) {
    view.sizes[axis] = sizes[axis];
    view.strides[0][axis] = a[axis];
    view.strides[1][axis] = b[axis];
  }
  return view;
}

template <class F, class T>
__global__ void __launch_bounds__(threads)
    binaryKernel(const T* a, const T* b, T* out, std::int64_t size, const __grid_constant__ View view) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= size) return;
  std::int64_t at[2];
  view.find(i, at);
  out[i] = Of<F, T>{}(a[at[0]], b[at[1]]);
}

template <class T>
__global__ void __launch_bounds__(threads)
    rearrangeKernel(const T* x, T* out, std::int64_t size, const __grid_constant__ View view) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= size) return;
  std::int64_t at[2];
  view.find(i, at);
  out[i] = x[at[0]];
}

template <class F, class T>
void binary(const char* name, const Binary& op, cudaStream_t stream) {
  map<Of<F, T>, T>(name, stream, {}, op.out, pointer<const T>(op.a), pointer<const T>(op.b));
}

template <class F, class T>
void binary(const char* name, const BinaryView& op, cudaStream_t stream) {
  launch(name, binaryKernel<F, T>, dim3{gridSize(op.out.size, threads)}, dim3{threads}, 0, stream,
         pointer<const T>(op.a), pointer<const T>(op.b), pointer<T>(op.out), op.out.size,
         viewOf(op.sizes, op.stridesA, op.stridesB));
}

template <class T>
void rearrange(const Rearrange& op, cudaStream_t stream) {
  launch("rearrange", rearrangeKernel<T>, dim3{gridSize(op.out.size, threads)}, dim3{threads}, 0, stream,
         pointer<const T>(op.x), pointer<T>(op.out), op.out.size, viewOf(op.sizes, op.strides, op.strides));
}

template <class Op>
void binaryBy(const Op& op, cudaStream_t stream) {
  if (op.out.size == 0) return;
  withFloatType(op.a.dtype, [&](auto t) {
    using T = decltype(t);
    switch (op.fn) {
#define LAZY_CASE(name)      \
  case BinaryFunction::name: \
    return binary<pairs::name, T>(#name, op, stream);
      LAZY_BINARY_FUNCTIONS(LAZY_CASE)
#undef LAZY_CASE
    }
  });
}

}  // namespace

void run(const Unary& op, cudaStream_t stream) {
  withFloatType(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    switch (op.fn) {
#define LAZY_CASE(name)     \
  case UnaryFunction::name: \
    return map<Of<functions::name, T>, T>(#name, stream, {}, op.out, pointer<const T>(op.x));
      LAZY_UNARY_FUNCTIONS(LAZY_CASE)
#undef LAZY_CASE
    }
  });
}

void run(const Binary& op, cudaStream_t stream) { binaryBy(op, stream); }
void run(const BinaryView& op, cudaStream_t stream) { binaryBy(op, stream); }

void run(const Rearrange& op, cudaStream_t stream) {
  if (op.out.size == 0) return;
  // Bits are moved as they are.
  if (bytesPerElement(op.x.dtype) == 2) return rearrange<std::uint16_t>(op, stream);
  rearrange<std::uint32_t>(op, stream);
}

}  // namespace gpu
