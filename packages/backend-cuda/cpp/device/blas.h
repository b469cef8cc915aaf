// Matrix products by cuBLASLt, which is looked for when the device is made and never needed: kernels/matmul.cu computes
// the same. Loaded with dlopen, so that the addon loads on machines without CUDA libraries.
#pragma once

#include <memory>
#include <string>

#include "kernels/kernels.h"

namespace gpu {

class Blas {
 public:
  virtual ~Blas() = default;
  virtual std::string version() const = 0;
  // False when the library has no algorithm for this product.
  virtual bool run(const Matmul& op, cudaStream_t stream) = 0;
};

// What multiplies matrices: cuBLASLt where there is one and it has an algorithm, else our own kernels.
struct Products {
  Blas* blas = nullptr;
  void run(const Matmul& op, cudaStream_t stream) const {
    if (blas != nullptr && op.out.size != 0 && blas->run(op, stream)) return;
    gpu::run(op, stream);
  }
};

// nullptr where the library is absent; `why` then says what was looked for.
std::unique_ptr<Blas> loadBlas(std::string& why);

}  // namespace gpu
