// The kernels of one instruction set. Each op of lazy_native/ops.h is a function that shares its work among the threads of
// a `Runtime` and returns when it is done. `workspace` is what CpuDevice::workspaceBytes asked for, or nullptr.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "lazy_native/ops.h"
#include "rope_table.h"
#include "thread_pool.h"

namespace lazy_cpu {

namespace ops = lazy_native;

// Per-thread room for packed blocks of a matrix product, in floats.
inline constexpr std::size_t packFloats = std::size_t{256} << 10;

// What products of bf16 run on: AMX tiles, AVX512-BF16, or any vectors (kernels/brain_tiles.h). `emulated` are the vectors, for what else
// tiles of bf16 are used for too: so that its kernels can be tested anywhere.
enum class BrainUnit : std::uint8_t { vectors, dots, tiles, emulated };

// What, beside a problem, decides how its work is cut.
struct Machine {
  int threads;
  BrainUnit unit;
};

struct Runtime {
  explicit Runtime(Machine machine);  // the caller's thread is one of them
  Runtime(Machine machine, ops::Tasks& tasks);
  float* pack(int thread) { return packs.get() + static_cast<std::size_t>(thread) * packFloats; }

  struct Free {
    void operator()(float* memory) const;
  };
  const Machine machine;
  std::unique_ptr<float[], Free> packs;
  RopeTable rope;
  ThreadPool pool;  // last, since its threads use the others
};

// The functions of one instruction set: every op of lazy_native/ops.h under its name there, and what has no op.
#define LAZY_KERNELS(KERNEL)                                                                                   \
  KERNEL(matmulWorkspace, std::size_t, (const ops::Matmul&, const Machine&))                                   \
  KERNEL(attentionWorkspace, std::size_t, (const ops::AttentionInputs&, const Machine&))                       \
  /* Whether attention goes over a cache of keys in place; not where it keeps what the backward pass needs. */ \
  KERNEL(decodes, bool, (const ops::AttentionSizes&, bool save))                                               \
  KERNEL(decodeFloats, std::size_t, (const ops::AttentionInputs&))                                             \
  KERNEL(attentionGradWorkspace, std::size_t, (const ops::AttentionInputs&, const Machine&))                   \
  /* Products that do not need each other; the workspace is that of the one that wants most. */                \
  KERNEL(matmuls, void, (const ops::Matmul* products, int count, Runtime&, void* workspace))                   \
  /* Yardsticks (ceiling.cpp). */                                                                              \
  KERNEL(multiplyAdds, double, (std::int64_t rounds, float* sink))                                             \
  KERNEL(readAll, float, (const float* data, std::int64_t count))                                              \
  KERNEL(readFourfold, float, (const float* data, std::int64_t count))

struct KernelTable {
  const char* name;
#define LAZY_OP(name, Op) void (*name)(const ops::Op&, Runtime&, void* workspace);
#define LAZY_KERNEL(name, Result, arguments) Result(*name) arguments;
  LAZY_OPS(LAZY_OP)
  LAZY_KERNELS(LAZY_KERNEL)
#undef LAZY_KERNEL
#undef LAZY_OP
};

// How the loops whose partial sums are added up are cut: by the problem alone, so that results do not depend on threads.
inline constexpr std::int64_t sumGrain = 1 << 15;
inline std::int64_t sumChunks(std::int64_t size) { return (size + sumGrain - 1) / sumGrain; }
// What a reduction keeps of a chunk of its axis: `reduceRows` entries of it.
struct Partial {
  double value, extra;
};
inline std::int64_t reduceRows(const ops::Reduce& op) {
  return op.inner == 1 ? sumGrain : std::max<std::int64_t>(64, sumGrain / op.inner);
}
inline std::int64_t reduceChunks(const ops::Reduce& op) { return (op.length + reduceRows(op) - 1) / reduceRows(op); }
inline std::int64_t rowGrain(std::int64_t rows) { return rows < 64 ? 1 : (rows + 63) / 64; }
inline std::int64_t rowChunks(std::int64_t rows) { return (rows + rowGrain(rows) - 1) / rowGrain(rows); }

}  // namespace lazy_cpu
