// The device that packages/native drives: one GPU, one stream.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "device/blas.h"
#include "lazy_native/device.h"

namespace gpu {

class CudaDevice final : public Device {
 public:
  // Options: `device` (index, default 0), `cublas` ('auto', 'off' or 'required').
  explicit CudaDevice(const Options& options);
  ~CudaDevice() override;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  std::string describe() const override;
  std::vector<DType> dtypes() const override { return {DType::f32, DType::bf16, DType::f16, DType::i32}; }

  void* allocate(std::size_t bytes) override;
  void release(void* memory, std::size_t bytes) noexcept override;
  std::size_t freeBytes() const override;
  std::size_t alignment() const override;
  void* allocateHost(std::size_t bytes) override;
  void releaseHost(void* memory, std::size_t bytes) noexcept override;

  std::size_t savedBytes(const AttentionInputs& in) const override { return gpu::savedBytes(in); }
  std::size_t workspaceBytes(const Sum& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const SumSquares& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const RmsNormGrad& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const ElasticSoftmaxGrad& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const CrossEntropy& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const Attention& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const AttentionGrad& op) const override { return workspace(op); }

  void attach() override;
  void upload(void* to, const void* from, std::size_t bytes) override;
  void download(void* to, const void* from, std::size_t bytes) override;
  void finish() override;

  void run(const Fill& op) override { gpu::run(op, stream_); }
  void run(const Cast& op) override { gpu::run(op, stream_); }
  void run(const CopyRows& op) override { gpu::run(op, stream_); }
  void run(const Binary& op) override { gpu::run(op, stream_); }
  void run(const Scale& op) override { gpu::run(op, stream_); }
  void run(const Sum& op, void* scratch) override { gpu::run(op, scratch, stream_); }
  void run(const Broadcast& op) override { gpu::run(op, stream_); }
  void run(const SumSquares& op, void* scratch) override { gpu::run(op, scratch, stream_); }
  void run(const Matmul& op, void* scratch) override;
  void run(const RmsNorm& op) override { gpu::run(op, stream_); }
  void run(const RmsNormGrad& op, void* scratch) override { gpu::run(op, scratch, stream_); }
  void run(const Rope& op, void*) override { gpu::run(op, stream_); }
  void run(const Attention& op, void* scratch) override { gpu::run(op, scratch, stream_); }
  void run(const AttentionGrad& op, void* scratch) override { gpu::run(op, scratch, stream_); }
  void run(const AttentionWeights& op, void*) override { gpu::run(op, stream_); }
  void run(const ElasticSoftmax& op) override { gpu::run(op, stream_); }
  void run(const ElasticSoftmaxGrad& op, void* scratch) override { gpu::run(op, scratch, stream_); }
  void run(const Swiglu& op) override { gpu::run(op, stream_); }
  void run(const SwigluGrad& op) override { gpu::run(op, stream_); }
  void run(const Embedding& op) override { gpu::run(op, stream_); }
  void run(const EmbeddingGrad& op, void*) override { gpu::run(op, stream_); }
  void run(const CrossEntropy& op, void* scratch) override { gpu::run(op, scratch, stream_); }
  void run(const CrossEntropyGrad& op, void*) override { gpu::run(op, stream_); }
  void run(const AdamW& op) override { gpu::run(op, stream_); }

 private:
  int index_ = 0;
  cudaStream_t stream_{};
  cudaEvent_t arrived_[2]{};  // the two pieces of a download
  std::string name_, products_;
  std::unique_ptr<Blas> blas_;
  // Pinned blocks kept for the next transfer; asking the driver for one costs about as much as a small kernel's time.
  std::mutex pinnedMutex_;
  std::multimap<std::size_t, void*> pinned_;
  std::size_t pinnedBytes_ = 0;
};

}  // namespace gpu
