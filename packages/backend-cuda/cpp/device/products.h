// What multiplies matrices: cuBLASLt where there is one and it has an algorithm, else our own kernels.
#pragma once

#include <memory>
#include <string>

#include "device/blas.h"
#include "device/report.h"

namespace gpu {

// Option `cublas`. automatic: what cuBLASLt fails to compute, for whatever reason, our kernels do, and the user hears of
// the first time. required: such a failure is an error.
enum class BlasUse { automatic, off, required };

class Products {
 public:
  // Throws Unavailable where cuBLASLt is required and cannot be had.
  Products(BlasUse use, Launches& launches, Warnings& warnings);
  // 'cuBLASLt 13.1', or 'own matrix products'.
  std::string describe() const;
  void run(const Matmul& op, cudaStream_t stream);

 private:
  // Throws Unsupported, or warns.
  void refused(const Matmul& op, const std::string& why);

  const BlasUse use_;
  Launches& launches_;
  Warnings& warnings_;
  std::unique_ptr<Blas> blas_;
  bool warned_ = false;
};

}  // namespace gpu
