// The device that packages/native drives: one GPU, one stream.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "device/decoder.h"
#include "device/products.h"
#include "device/report.h"
#include "lazy_native/device.h"

namespace gpu {

class CudaDevice final : public Device {
 public:
  // Options: `device` (index, default 0), `cublas` ('auto', 'off' (default) or 'required'), `path` of attention ('mma' or 'hopper').
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
  std::size_t workspaceBytes(const Reduce& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const SumSquares& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const RmsNormGrad& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const ElasticSoftmaxGrad& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const CrossEntropy& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const Attention& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const AttentionGrad& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const DecoderLayer& op) const override { return workspace(op); }
  std::size_t workspaceBytes(const Decode& op) const override { return workspace(op); }

  bool offers(FusedOp) const override { return true; }

  bool reports() const override { return true; }
  std::map<std::string, std::uint64_t> launches() const override { return launches_.counts(); }
  std::vector<std::string> takeWarnings() override { return warnings_.take(); }

  void attach() override;
  void upload(void* to, const void* from, std::size_t bytes) override;
  void download(void* to, const void* from, std::size_t bytes) override;
  void finish() override;

#define LAZY_RUN(name, Op) \
  void run(const Op& op, void* scratch) override { launch(op, scratch); }
  LAZY_OPS(LAZY_RUN)
#undef LAZY_RUN
  void run(const DecoderLayer& op, void* scratch) override { decoder_->run(op, scratch); }
  void run(const Decode& op, void* scratch) override;

 private:
  // kernels.h has each op with or without scratch.
  template <class Op>
  void launch(const Op& op, void* scratch) {
    if constexpr (takesScratch<Op>(0)) {
      gpu::run(op, scratch, stream_);
    } else {
      gpu::run(op, stream_);
    }
  }
  void launch(const Matmul& op, void*) { products_->run(op, stream_); }
  void launch(const Attention& op, void* scratch) {
    gpu::run(op, scratch, stream_, path_);
    launches_.add(wayOf(op, path_));
  }
  void launch(const AttentionGrad& op, void* scratch) {
    gpu::run(op, scratch, stream_, path_);
    launches_.addGrad(wayOf(op, path_));
  }
  template <class Op>
  static constexpr auto takesScratch(int)
      -> decltype(gpu::run(std::declval<const Op&>(), nullptr, cudaStream_t{}), bool{}) {
    return true;
  }
  template <class Op>
  static constexpr bool takesScratch(...) {
    return false;
  }

  int index_ = 0;
  AttentionPath path_ = AttentionPath::mma;
  cudaStream_t stream_{};
  cudaEvent_t arrived_[2]{};  // the two pieces of a download
  std::string name_;
  Launches launches_;
  Warnings warnings_;
  std::optional<Products> products_;
  std::optional<Decoder> decoder_;
  // Pinned blocks kept for the next transfer; asking the driver for one costs about as much as a small kernel's time.
  std::mutex pinnedMutex_;
  std::multimap<std::size_t, void*> pinned_;
  std::size_t pinnedBytes_ = 0;
};

}  // namespace gpu
