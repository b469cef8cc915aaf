// The open primitive reduce: sums and the like over the middle of [outer, length, inner], in f32 and in a fixed order. Rows that
// lie together (inner = 1) have a block each; else a thread goes down a column, and neighbours read neighbours.
#include <cstdint>

#include "kernels/common.h"

namespace gpu {

namespace {

constexpr int threads = 256;

// What is known of the entries that were seen: for logSumExp, value + log(total); for argmax, the entry at `index`.
struct Seen {
  float value, total;
  std::int32_t index;
};

// One line per name of LAZY_REDUCE_FUNCTIONS; `join` takes the entries that come later second.
namespace reducers {
struct sum {
  __device__ static Seen none() { return {0, 0, 0}; }
  __device__ static Seen one(float x, std::int32_t) { return {x, 0, 0}; }
  __device__ static Seen join(const Seen& a, const Seen& b) { return {a.value + b.value, 0, 0}; }
  __device__ static float finish(const Seen& a, std::int64_t) { return a.value; }
};
struct mean : sum {
  __device__ static float finish(const Seen& a, std::int64_t length) { return a.value / static_cast<float>(length); }
};
struct max {
  __device__ static Seen none() { return {-INFINITY, 0, 0}; }
  __device__ static Seen one(float x, std::int32_t) { return {x, 0, 0}; }
  __device__ static Seen join(const Seen& a, const Seen& b) { return {nanMax(a.value, b.value), 0, 0}; }
  __device__ static float finish(const Seen& a, std::int64_t) { return a.value; }
};
struct min : max {
  __device__ static Seen none() { return {INFINITY, 0, 0}; }
  __device__ static Seen join(const Seen& a, const Seen& b) { return {nanMin(a.value, b.value), 0, 0}; }
};
struct logSumExp : max {
  __device__ static Seen one(float x, std::int32_t) { return {x, 1, 0}; }
  // An infinite maximum is the answer, so nothing takes infinity from infinity.
  __device__ static float part(const Seen& a, float top) {
    return a.value == top ? a.total : a.total * expf(a.value - top);
  }
  __device__ static Seen join(const Seen& a, const Seen& b) {
    const float top = nanMax(a.value, b.value);
    return {top, part(a, top) + part(b, top), 0};
  }
  __device__ static float finish(const Seen& a, std::int64_t) { return a.value + logf(a.total); }
};
struct argmax {
  __device__ static Seen none() { return {-INFINITY, 0, INT32_MAX}; }
  __device__ static Seen one(float x, std::int32_t index) { return {x, 0, index}; }
  // The first NaN, else the first of the largest.
  __device__ static Seen join(const Seen& a, const Seen& b) {
    const bool nanA = a.value != a.value, nanB = b.value != b.value;
    if (nanA != nanB) return nanA ? a : b;
    if (!nanA && a.value != b.value) return a.value > b.value ? a : b;
    return a.index < b.index ? a : b;
  }
  __device__ static std::int32_t finish(const Seen& a, std::int64_t) { return a.index; }
};
}  // namespace reducers

__device__ __forceinline__ void put(std::int32_t* to, std::int32_t x) { *to = x; }
template <class T>
__device__ __forceinline__ void put(T* to, float x) {
  *to = fromFloat<T>(x);
}

template <class F, class T, class Out>
__global__ void __launch_bounds__(threads) rowKernel(const T* x, Out* out, std::int64_t length) {
  const T* row = x + blockIdx.x * length;
  const int thread = static_cast<int>(threadIdx.x);
  Seen seen = F::none();
  for (std::int64_t j = thread; j < length; j += threads) {
    seen = F::join(seen, F::one(toFloat(row[j]), static_cast<std::int32_t>(j)));
  }
  const auto all = sharedMemory<Seen>();
  all[thread] = seen;
  for (int half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) all[thread] = F::join(all[thread], all[thread + half]);
  }
  if (thread == 0) put(out + blockIdx.x, F::finish(all[0], length));
}

template <class F, class T, class Out>
__global__ void __launch_bounds__(threads)
    columnKernel(const T* x, Out* out, std::int64_t columns, std::int64_t length, std::int64_t inner) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (column >= columns) return;
  const T* first = x + column / inner * length * inner + column % inner;
  Seen seen = F::none();
  for (std::int64_t j = 0; j < length; ++j) {
    seen = F::join(seen, F::one(toFloat(first[j * inner]), static_cast<std::int32_t>(j)));
  }
  put(out + column, F::finish(seen, length));
}

template <class F, class T, class Out>
void reduce(const char* name, const Reduce& op, cudaStream_t stream) {
  const auto* x = pointer<const T>(op.x);
  auto* out = pointer<Out>(op.out);
  if (op.inner == 1) {
    return launch(name, rowKernel<F, T, Out>, dim3{gridSize(op.outer, 1)}, dim3{threads}, threads * sizeof(Seen),
                  stream, x, out, op.length);
  }
  launch(name, columnKernel<F, T, Out>, dim3{gridSize(op.out.size, threads)}, dim3{threads}, 0, stream, x, out,
         op.out.size, op.length, op.inner);
}

template <class F, class T>
void reduceTo(const char* name, const Reduce& op, cudaStream_t stream) {
  if constexpr (std::is_same_v<F, reducers::argmax>) {
    reduce<F, T, std::int32_t>(name, op, stream);
  } else if (op.out.dtype == DType::f32) {
    reduce<F, T, float>(name, op, stream);
  } else {
    reduce<F, T, T>(name, op, stream);
  }
}

// The sum of a whole tensor is worth more than the block that a row has.
bool sumsAll(const Reduce& op) {
  return op.fn == ReduceFunction::sum && op.out.size == 1 && op.out.dtype == DType::f32;
}

}  // namespace

std::size_t workspace(const Reduce& op) {
  return sumsAll(op) ? static_cast<std::size_t>(partialSums(op.x)) * sizeof(float) : 0;
}

void run(const Reduce& op, void* workspace, cudaStream_t stream) {
  if (op.out.size == 0) return;
  if (sumsAll(op)) return sumAll(op.x, static_cast<float*>(workspace), op.out, stream);
  withFloatType(op.x.dtype, [&](auto t) {
    using T = decltype(t);
    switch (op.fn) {
#define LAZY_CASE(name)      \
  case ReduceFunction::name: \
    return reduceTo<reducers::name, T>(#name, op, stream);
      LAZY_REDUCE_FUNCTIONS(LAZY_CASE)
#undef LAZY_CASE
    }
  });
}

}  // namespace gpu
