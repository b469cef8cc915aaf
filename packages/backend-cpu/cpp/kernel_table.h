// The kernels of one instruction set. Each op of lazy_native/ops.h is a function that shares its work among the threads of
// a `Runtime` and returns when it is done.
#pragma once

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

struct Runtime {
  explicit Runtime(int threads);  // the caller's thread is one of them
  Runtime(int threads, ops::Tasks& tasks);
  float* pack(int thread) { return packs.get() + static_cast<std::size_t>(thread) * packFloats; }

  struct Free {
    void operator()(float* memory) const;
  };
  std::unique_ptr<float[], Free> packs;
  RopeTable rope;
  ThreadPool pool;  // last, since its threads use the others
};

struct KernelTable {
  const char* name;

  std::size_t (*matmulWorkspace)(const ops::Matmul&, int threads);
  std::size_t (*attentionWorkspace)(const ops::AttentionInputs&, int threads);
  std::size_t (*attentionGradWorkspace)(const ops::AttentionInputs&, int threads);

  void (*fill)(const ops::Fill&, Runtime&);
  void (*copyRows)(const ops::CopyRows&, Runtime&);
  void (*binary)(const ops::Binary&, Runtime&);
  void (*scale)(const ops::Scale&, Runtime&);
  void (*sum)(const ops::Sum&, Runtime&, double* partials);
  void (*sumSquares)(const ops::SumSquares&, Runtime&, double* partials);
  void (*matmul)(const ops::Matmul&, Runtime&, float* workspace);
  // Products that do not need each other; the workspace is that of the one that wants most. Thin ones are shared out as one loop.
  void (*matmuls)(const ops::Matmul* products, int count, Runtime&, float* workspace);
  void (*rmsNorm)(const ops::RmsNorm&, Runtime&);
  void (*rmsNormGrad)(const ops::RmsNormGrad&, Runtime&, float* partials);
  void (*rope)(const ops::Rope&, Runtime&);
  void (*attention)(const ops::Attention&, Runtime&, float* workspace);
  void (*attentionGrad)(const ops::AttentionGrad&, Runtime&, float* workspace);
  void (*attentionWeights)(const ops::AttentionWeights&, Runtime&, float* workspace);
  void (*elasticSoftmax)(const ops::ElasticSoftmax&, Runtime&);
  void (*elasticSoftmaxGrad)(const ops::ElasticSoftmaxGrad&, Runtime&, double* partials);
  void (*swiglu)(const ops::Swiglu&, Runtime&);
  void (*swigluGrad)(const ops::SwigluGrad&, Runtime&);
  void (*embedding)(const ops::Embedding&, Runtime&);
  void (*embeddingGrad)(const ops::EmbeddingGrad&, Runtime&);
  void (*crossEntropy)(const ops::CrossEntropy&, Runtime&, double* partials);
  void (*crossEntropyGrad)(const ops::CrossEntropyGrad&, Runtime&);
  void (*adamw)(const ops::AdamW&, Runtime&);

  // Yardsticks (ceiling.cpp).
  double (*multiplyAdds)(std::int64_t rounds, float* sink);
  float (*readAll)(const float* data, std::int64_t count);
  float (*readFourfold)(const float* data, std::int64_t count);
};

// How the loops whose partial sums are added up are cut: by the problem alone, so that results do not depend on threads.
inline constexpr std::int64_t sumGrain = 1 << 15;
inline std::int64_t sumChunks(std::int64_t size) { return (size + sumGrain - 1) / sumGrain; }
inline std::int64_t rowGrain(std::int64_t rows) { return rows < 64 ? 1 : (rows + 63) / 64; }
inline std::int64_t rowChunks(std::int64_t rows) { return (rows + rowGrain(rows) - 1) / rowGrain(rows); }

}  // namespace lazy_cpu
