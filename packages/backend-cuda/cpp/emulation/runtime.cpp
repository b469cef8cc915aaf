#include "emulation/runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "emulation/graphs.h"

namespace {

struct Mapping {
  void* start;
  std::size_t mapped, bytes;
};

std::mutex mutex;  // guards what follows; memory is asked for on another thread than kernels run on
std::unordered_map<void*, Mapping> mappings;
std::size_t used = 0;
int asked = 0;

thread_local cudaError_t lastError = cudaSuccess;
thread_local std::string lastReport;

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidValue; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof *properties);
  std::strcpy(properties->name, "emulated GPU on the host");
  properties->major = 8;
  properties->minor = 0;
  properties->multiProcessorCount = 1;
  properties->sharedMemPerBlockOptin = emulation::sharedPerBlock;
  properties->totalGlobalMem = emulation::deviceMemory;
  return cudaSuccess;
}

// The end of each allocation (up to 15 bytes) lies against a page that may not be touched.
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex);
  asked += 1;
  if (bytes > emulation::deviceMemory - used) return cudaErrorMemoryAllocation;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t rounded = (bytes + 15) / 16 * 16;
  const std::size_t mapped = (rounded + page - 1) / page * page + page;
  void* start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return cudaErrorMemoryAllocation;
  auto* guard = static_cast<std::byte*>(start) + mapped - page;
  if (mprotect(guard, page, PROT_NONE) != 0) {
    munmap(start, mapped);
    return cudaErrorMemoryAllocation;
  }
  *memory = guard - rounded;
  // NaN in every floating type, so that a result nobody wrote is seen. Huge ones stay untouched, for tests of memory.
  if (bytes <= (std::size_t{64} << 20)) std::memset(*memory, 0xff, rounded);
  mappings[*memory] = {start, mapped, bytes};
  used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = mappings.find(memory);
  if (found == mappings.end()) return cudaErrorInvalidValue;
  munmap(found->second.start, found->second.mapped);
  used -= found->second.bytes;
  mappings.erase(found);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    asked += 1;
  }
  *memory = std::malloc(bytes);
  return *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard<std::mutex> lock(mutex);
  *free = emulation::deviceMemory - used;
  *total = emulation::deviceMemory;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  emulation::perform(stream, {emulation::Node::Kind::copy, "copy", [=] { std::memcpy(to, from, bytes); }});
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  emulation::perform(stream, {emulation::Node::Kind::fill, "fill", [=] { std::memset(to, value, bytes); }});
  return cudaSuccess;
}
// Like a GPU's, an error sticks: the device is of no more use.
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const cudaError_t refused = emulation::refuseCaptured(stream);
  return refused == cudaSuccess ? lastError : refused;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
// CUDA would record it; whoever waits for it then would find nothing done.
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t stream) {
  const cudaError_t refused = emulation::refuseCaptured(stream);
  return refused == cudaSuccess ? lastError : refused;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return lastError; }
cudaError_t cudaGetLastError() { return lastError; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorIllegalState:
      return "cudaErrorIllegalState";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorGraphExecUpdateFailure:
      return "cudaErrorGraphExecUpdateFailure";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "unknown error";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? lastReport.c_str() : cudaGetErrorName(error);
}

int emulation::allocations() {
  const std::lock_guard<std::mutex> lock(mutex);
  return asked;
}

void emulation::launchKernel(const char* name, Index3 grid, Index3 block, std::size_t sharedBytes, cudaStream_t stream,
                             std::function<void()> body) {
  const auto work = [=, body = std::move(body)] {
    if (lastError != cudaSuccess) return;
    lastReport = sharedBytes > sharedPerBlock
                     ? std::string(name) + " wants " + std::to_string(sharedBytes) + " bytes of shared memory"
                     : machine().launch(name, grid, block, sharedBytes, body);
    if (!lastReport.empty()) lastError = cudaErrorLaunchFailure;
  };
  perform(stream, {Node::Kind::kernel, name, work});
}
