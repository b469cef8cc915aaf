#include "device/check.h"

#include <stdexcept>
#include <string>

#include "lazy_native/errors.h"

namespace gpu {

namespace {
// After these the context is broken for good: CUDA runtime API, "sticky" errors.
bool isFatal(int error) {
  switch (error) {
    case 214:  // cudaErrorECCUncorrectable
    case 700:  // cudaErrorIllegalAddress
    case 702:  // cudaErrorLaunchTimeout
    case 709:  // cudaErrorContextIsDestroyed
    case 710:  // cudaErrorAssert
    case 714:  // cudaErrorHardwareStackError
    case 715:  // cudaErrorIllegalInstruction
    case 716:  // cudaErrorMisalignedAddress
    case 717:  // cudaErrorInvalidAddressSpace
    case 718:  // cudaErrorInvalidPc
    case 719:  // cudaErrorLaunchFailure
      return true;
    default:
      return false;
  }
}
}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next one that asks would be told of this one
  const std::string message = std::string(what) + ": " + cudaGetErrorName(error) + ": " + cudaGetErrorString(error);
  if (isFatal(static_cast<int>(error))) {
    throw lazy_native::DeviceLost(message +
                                  " (noticed here; an earlier kernel may be the cause: CUDA_LAUNCH_BLOCKING=1 "
                                  "or compute-sanitizer finds it)");
  }
  throw std::runtime_error(message);
}

void checkGrid(const char* kernel, unsigned y, unsigned z) {
  constexpr unsigned limit = 65535;
  if (y <= limit && z <= limit) return;
  throw lazy_native::Unsupported(std::string(kernel) + ": batch, heads or width are too large for one launch (" +
                                 std::to_string(y) + " x " + std::to_string(z) + " blocks; CUDA takes up to " +
                                 std::to_string(limit) + " each). Split the batch");
}

}  // namespace gpu
