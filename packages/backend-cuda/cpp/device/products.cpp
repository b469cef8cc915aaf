#include "device/products.h"

namespace gpu {

namespace {
const char* const fix = "install NVIDIA's cuBLAS for CUDA 12 or 13, or name the library in LAZY_ATTENTION_CUBLASLT";

std::string named(const Matmul& op) {
  const auto shape = [&](std::int64_t rows, std::int64_t columns, bool transposed) {
    return "[" + std::to_string(op.batch) + ", " + std::to_string(rows) + ", " + std::to_string(columns) + "]" +
           (transposed ? " transposed" : "");
  };
  const std::string a = op.transposeA ? shape(op.k, op.m, true) : shape(op.m, op.k, false);
  const std::string b = op.transposeB ? shape(op.n, op.k, true) : shape(op.k, op.n, false);
  return std::string(namesOf(op.out.dtype)[static_cast<std::size_t>(op.out.dtype)]) + " " + a + " by " + b;
}
}  // namespace

Products::Products(BlasUse use, Launches& launches, Warnings& warnings)
    : use_(use), launches_(launches), warnings_(warnings) {
  if (use == BlasUse::off) return;
  std::string why;
  blas_ = loadBlas(why);
  if (blas_) return;
  if (use == BlasUse::required) {
    throw Unavailable("option cublas is 'required', and cuBLASLt cannot be loaded: " + why, fix);
  }
  warnings.add("matrix products go by our own kernels, because cuBLASLt cannot be loaded: " + why + "; " + fix +
               ", or set option cublas (LAZY_ATTENTION_CUBLAS) to 'off'");
}

std::string Products::describe() const { return blas_ ? "cuBLASLt " + blas_->version() : "own matrix products"; }

void Products::run(const Matmul& op, cudaStream_t stream) {
  if (blas_ && op.out.size != 0) {
    const std::string why = blas_->run(op, stream);
    if (why.empty()) return launches_.add(ProductWay::cublasLt);
    refused(op, why);
  }
  gpu::run(op, stream);
  launches_.add(ProductWay::own);
}

void Products::refused(const Matmul& op, const std::string& why) {
  const std::string what = "cuBLASLt " + blas_->version() + " did not compute " + named(op) + ": " + why;
  if (use_ == BlasUse::required) {
    throw Unsupported(what + ". Option cublas 'auto' (LAZY_ATTENTION_CUBLAS) takes our own kernels then");
  }
  if (warned_) return;
  warned_ = true;
  warnings_.add(what + "; our own kernels do, and for other products that it does not compute, which are not named. " +
                "Option cublas 'required' makes it an error");
}

}  // namespace gpu
