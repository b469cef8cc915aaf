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
  // '' once the product is launched; else why it is not, and what the same product then is told each time.
  virtual std::string run(const Matmul& op, cudaStream_t stream) = 0;
};

// The first library of blasPlaces() that can be loaded. nullptr where there is none; `why` then says what was wrong with each.
std::unique_ptr<Blas> loadBlas(std::string& why);

}  // namespace gpu
