#include "device/cuda_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

#include "device/probe.h"

namespace gpu {

namespace {
// Below this the driver copies pageable memory aside by itself before cudaMemcpyAsync returns ("API synchronization
// behavior" of the CUDA runtime), which is faster than pinning.
constexpr std::size_t pageableBytes = 64 * 1024;
constexpr std::size_t pinnedKept = std::size_t{256} << 20;
// A download goes through two pinned pieces of this size: one arrives while the other is copied to where it is wanted.
constexpr std::size_t downloadPiece = std::size_t{4} << 20;

std::size_t pinnedBucket(std::size_t bytes) {
  std::size_t bucket = pageableBytes;
  while (bucket < bytes) bucket *= 2;
  return bucket;
}

double number(const Options& options, const char* name, double otherwise) {
  const auto found = options.find(name);
  return found == options.end() ? otherwise : std::get<double>(found->second);
}
std::string text(const Options& options, const char* name, const char* otherwise) {
  const auto found = options.find(name);
  return found == options.end() ? otherwise : std::get<std::string>(found->second);
}

BlasUse blasUse(const std::string& option) {
  if (option == "off") return BlasUse::off;
  return option == "required" ? BlasUse::required : BlasUse::automatic;
}

void requireHopper([[maybe_unused]] int index) {
#ifndef LAZY_EMULATED
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  if (properties.major == 9 && properties.minor == 0) return;
  throw Unavailable("option path is 'hopper', which runs on compute capability 9.0 alone; this is a " +
                        std::string(properties.name) + " of " + std::to_string(properties.major) + "." +
                        std::to_string(properties.minor),
                    "leave option path (LAZY_ATTENTION_CUDA_PATH) out, or set it to mma");
#endif
}
}  // namespace

CudaDevice::CudaDevice(const Options& options) : index_(static_cast<int>(number(options, "device", 0))) {
  const Probe found = probeDevice(index_);
  if (!found.available) throw Unavailable(found.reason, found.fix);
  name_ = found.device;
  check(cudaSetDevice(index_), "cudaSetDevice");
  products_.emplace(blasUse(text(options, "cublas", "off")), launches_, warnings_);
  if (text(options, "path", "mma") == "hopper") {
    requireHopper(index_);
    path_ = AttentionPath::hopper;
  }
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  for (cudaEvent_t& event : arrived_)
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  decoder_.emplace(*products_, launches_, stream_, path_);
}

CudaDevice::~CudaDevice() {
  // Errors are of no use any more: the device may be lost.
  cudaSetDevice(index_);
  for (const auto& [bytes, memory] : pinned_) cudaFreeHost(memory);
  decoder_.reset();
  products_.reset();
  for (cudaEvent_t event : arrived_) cudaEventDestroy(event);
  cudaStreamDestroy(stream_);
}

std::string CudaDevice::describe() const {
  return name_ + ", " + products_->describe() + (path_ == AttentionPath::hopper ? ", attention for Hopper" : "");
}

void* CudaDevice::allocate(std::size_t bytes) {
  check(cudaSetDevice(index_), "cudaSetDevice");
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the next launch must not see it
    throw OutOfMemory("device memory could not be had", bytes);
  }
  check(error, "cudaMalloc");
  return memory;
}

void CudaDevice::release(void* memory, std::size_t) noexcept { cudaFree(memory); }

std::size_t CudaDevice::freeBytes() const {
  std::size_t free = 0, total = 0;
  return cudaMemGetInfo(&free, &total) == cudaSuccess ? free : 0;
}

std::size_t CudaDevice::alignment() const {
#ifdef LAZY_EMULATED
  return 16;  // so that the end of an allocation lies against its guard page
#else
  return 256;
#endif
}

void* CudaDevice::allocateHost(std::size_t bytes) {
  if (bytes <= pageableBytes) {
    void* memory = std::malloc(bytes);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }
  const std::size_t bucket = pinnedBucket(bytes);
  {
    const std::lock_guard<std::mutex> lock(pinnedMutex_);
    if (const auto found = pinned_.find(bucket); found != pinned_.end()) {
      void* memory = found->second;
      pinned_.erase(found);
      pinnedBytes_ -= bucket;
      return memory;
    }
  }
  void* memory = nullptr;
  check(cudaMallocHost(&memory, bucket), "cudaMallocHost");
  return memory;
}

void CudaDevice::releaseHost(void* memory, std::size_t bytes) noexcept {
  if (bytes <= pageableBytes) return std::free(memory);
  const std::size_t bucket = pinnedBucket(bytes);
  const std::lock_guard<std::mutex> lock(pinnedMutex_);
  if (pinnedBytes_ + bucket > pinnedKept) {
    cudaFreeHost(memory);
    return;
  }
  pinned_.emplace(bucket, memory);
  pinnedBytes_ += bucket;
}

void CudaDevice::attach() { check(cudaSetDevice(index_), "cudaSetDevice"); }

void CudaDevice::upload(void* to, const void* from, std::size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "upload");
  if (bytes > pageableBytes) check(cudaStreamSynchronize(stream_), "upload");
}

void CudaDevice::download(void* to, const void* from, std::size_t bytes) {
  if (bytes <= pageableBytes) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "download");
    return finish();
  }
  const std::size_t piece = std::min(bytes, downloadPiece), pieces = (bytes + piece - 1) / piece;
  const auto giveBack = [this, piece](void* memory) { releaseHost(memory, piece); };
  std::unique_ptr<void, decltype(giveBack)> staging[2] = {{nullptr, giveBack}, {nullptr, giveBack}};
  for (std::size_t i = 0; i <= pieces; ++i) {
    if (i < pieces) {
      auto& place = staging[i % 2];
      if (!place) place.reset(allocateHost(piece));
      check(cudaMemcpyAsync(place.get(), static_cast<const char*>(from) + i * piece, std::min(piece, bytes - i * piece),
                            cudaMemcpyDeviceToHost, stream_),
            "download");
      check(cudaEventRecord(arrived_[i % 2], stream_), "download");
    }
    if (i > 0) {
      check(cudaEventSynchronize(arrived_[(i - 1) % 2]), "download");
      std::memcpy(static_cast<char*>(to) + (i - 1) * piece, staging[(i - 1) % 2].get(),
                  std::min(piece, bytes - (i - 1) * piece));
    }
  }
  finish();
}

void CudaDevice::finish() { check(cudaStreamSynchronize(stream_), "synchronize"); }

void CudaDevice::run(const Decode& op, void* scratch) {
  decoder_->run(op, scratch, [this](void* to, const void* from, std::size_t bytes) { upload(to, from, bytes); });
}

}  // namespace gpu
