#include "device/probe.h"

#include <string>

#include "device/check.h"
#include "kernels/kernels.h"

namespace gpu {

namespace {

std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Probe missing(std::string reason, std::string fix) { return {false, "", std::move(reason), std::move(fix)}; }

// cudaMalloc's granularity: with less than this, no tensor fits.
constexpr std::size_t leastMemory = std::size_t{2} << 20;

// One launch: finds out whether the binary has code for this device.
std::string tryKernel() {
  void* memory = nullptr;
  if (const cudaError_t error = cudaMalloc(&memory, 256); error != cudaSuccess) return cudaGetErrorString(error);
  std::string problem;
  try {
    gpu::run(Fill{Tensor{memory, 64, DType::f32}, 1.0}, cudaStream_t{});
    float value = 0;
    check(cudaMemcpyAsync(&value, memory, sizeof value, cudaMemcpyDeviceToHost, cudaStream_t{}), "copy");
    check(cudaStreamSynchronize(cudaStream_t{}), "synchronize");
    if (value != 1) problem = "a test kernel computed " + std::to_string(value) + " instead of 1";
  } catch (const std::exception& error) {
    problem = error.what();
  }
  cudaFree(memory);
  return problem;
}

}  // namespace

Probe probeDevice(int index) {
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  const std::string needed = versionText(runtime);
  if (driver == 0) {
    return missing(
        "no NVIDIA driver was found (looked for the driver's CUDA library)",
        "install NVIDIA's driver for CUDA " + needed + " or later; in a container, start it with the NVIDIA runtime");
  }
  // Minor versions are compatible with each other, major ones only upwards.
  if (driver / 1000 < runtime / 1000) {
    return missing("the NVIDIA driver supports CUDA " + versionText(driver) + "; this build needs " + needed,
                   "update NVIDIA's driver to one for CUDA " + needed + " (version 580 or later)");
  }
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    return missing(std::string("the NVIDIA driver (CUDA ") + versionText(driver) + ") reports no usable device" +
                       (error == cudaSuccess ? "" : std::string(": ") + cudaGetErrorString(error)),
                   "check nvidia-smi and CUDA_VISIBLE_DEVICES");
  }
  if (index < 0 || index >= count) {
    return missing("device " + std::to_string(index) + " was asked for; there are " + std::to_string(count),
                   "choose option device (or LAZY_ATTENTION_CUDA_DEVICE) from 0 to " + std::to_string(count - 1));
  }
  cudaDeviceProp properties{};
  if (const cudaError_t refused = cudaGetDeviceProperties(&properties, index); refused != cudaSuccess) {
    return missing(std::string("device ") + std::to_string(index) + " does not answer: " + cudaGetErrorString(refused),
                   "check nvidia-smi");
  }
  const std::string capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
  if (properties.major < 8) {
    return missing(std::string(properties.name) + " has compute capability " + capability +
                       "; the kernels need 8.0 (Ampere) or later",
                   "use a newer GPU, or the webgpu backend on this one");
  }
  // The first call that makes a context, and so the first that another process's memory can fail.
  std::size_t free = 0, total = 0;
  cudaError_t failed = cudaSetDevice(index);
  if (failed == cudaSuccess) failed = cudaMemGetInfo(&free, &total);
  if (failed == cudaErrorMemoryAllocation || (failed == cudaSuccess && free < leastMemory)) {
    return missing(std::string(properties.name) + " has no memory left: " + std::to_string(free) + " of " +
                       std::to_string(properties.totalGlobalMem) + " bytes are free",
                   "end the processes that nvidia-smi lists, or choose another device (LAZY_ATTENTION_CUDA_DEVICE)");
  }
  if (failed != cudaSuccess) {
    return missing(std::string(properties.name) + " cannot be used: " + cudaGetErrorString(failed),
                   "check with nvidia-smi whether another process holds it exclusively");
  }
  if (const std::string problem = tryKernel(); !problem.empty()) {
    return missing(
        std::string(properties.name) + " (compute capability " + capability + ") failed a test kernel: " + problem,
        "build for this device with npm run build:cuda -- --architectures=native");
  }
  Probe found;
  found.available = true;
  found.device = std::string(properties.name) + ", compute capability " + capability + ", " +
                 std::to_string(properties.multiProcessorCount) + " multiprocessors, " +
                 std::to_string(properties.totalGlobalMem >> 20) + " MiB";
  found.reason = "driver for CUDA " + versionText(driver) + ", built with CUDA " + needed;
  return found;
}

}  // namespace gpu
