#include "lazy_native/addon.h"

#include <cstdlib>

#include "device/cuda_device.h"
#include "device/probe.h"

namespace {

// The device that the environment chooses, so that a probe judges the one that will be used.
lazy_native::Probe probe() {
  const char* chosen = std::getenv("LAZY_ATTENTION_CUDA_DEVICE");
  return gpu::probeDevice(chosen == nullptr ? 0 : std::atoi(chosen));
}

std::unique_ptr<lazy_native::Device> create(const lazy_native::Options& options) {
  return std::make_unique<gpu::CudaDevice>(options);
}

}  // namespace

LAZY_NATIVE_ADDON((lazy_native::DeviceFactory{&probe, &create}))
