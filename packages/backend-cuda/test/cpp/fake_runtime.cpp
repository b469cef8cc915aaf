// The emulated CUDA runtime with a driver and a device that the environment makes up, for tests of what is said about
// machines that nobody has at hand: LAZY_FAKE_GPU="driver=12080 devices=0". Linked in place of emulation/runtime.cpp.
//
// driver: version (0: none). devices: how many. capability: 75 for 7.5. memory: bytes that the device has left.
// busy=1: another process holds it exclusively. image=0: the binary has no code for it.
#include <cstdlib>
#include <cstring>
#include <string>

#define cudaDriverGetVersion emulatedDriverGetVersion
#define cudaGetDeviceCount emulatedGetDeviceCount
#define cudaGetDeviceProperties emulatedGetDeviceProperties
#define cudaSetDevice emulatedSetDevice
#define cudaMalloc emulatedMalloc
#define cudaMemGetInfo emulatedMemGetInfo
#define cudaMemcpyAsync emulatedMemcpyAsync
#define cudaGetErrorString emulatedGetErrorString
#include "../../cpp/emulation/runtime.cpp"
#undef cudaDriverGetVersion
#undef cudaGetDeviceCount
#undef cudaGetDeviceProperties
#undef cudaSetDevice
#undef cudaMalloc
#undef cudaMemGetInfo
#undef cudaMemcpyAsync
#undef cudaGetErrorString

namespace {

constexpr auto deviceUnavailable = static_cast<cudaError_t>(46);
constexpr auto noKernelImage = static_cast<cudaError_t>(209);

long long setting(const char* name, long long otherwise) {
  const char* all = std::getenv("LAZY_FAKE_GPU");
  const std::string settings = std::string(" ") + (all == nullptr ? "" : all);
  const std::string key = std::string(" ") + name + "=";
  const auto at = settings.find(key);
  return at == std::string::npos ? otherwise : std::atoll(settings.c_str() + at + key.size());
}

std::size_t memoryLeft() { return static_cast<std::size_t>(setting("memory", emulation::deviceMemory)); }

}  // namespace

cudaError_t cudaDriverGetVersion(int* version) {
  *version = static_cast<int>(setting("driver", 13000));
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(setting("devices", 1));
  return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  emulatedGetDeviceProperties(properties, device);
  std::strcpy(properties->name, "fake GPU");
  const int capability = static_cast<int>(setting("capability", 80));
  properties->major = capability / 10;
  properties->minor = capability % 10;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return setting("busy", 0) != 0 ? deviceUnavailable : cudaSuccess; }
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return bytes > memoryLeft() ? cudaErrorMemoryAllocation : emulatedMalloc(memory, bytes);
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  emulatedMemGetInfo(free, total);
  if (*free > memoryLeft()) *free = memoryLeft();
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return setting("image", 1) == 0 ? noKernelImage : emulatedMemcpyAsync(to, from, bytes, kind, stream);
}
// In the words of the CUDA runtime.
const char* cudaGetErrorString(cudaError_t error) {
  if (error == deviceUnavailable) return "CUDA-capable device(s) is/are busy or unavailable";
  if (error == noKernelImage) return "no kernel image is available for execution on the device";
  if (error == cudaErrorNoDevice) return "no CUDA-capable device is detected";
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  return emulatedGetErrorString(error);
}
