#include "lazy_native/device.h"

#include <new>

#include "one_thread.h"

namespace lazy_native {

void* Device::allocateHost(std::size_t bytes) {
  void* memory = ::operator new(bytes, std::align_val_t{64}, std::nothrow);
  if (memory == nullptr) throw OutOfMemory("host memory for an upload could not be had", bytes);
  return memory;
}

void Device::releaseHost(void* memory, std::size_t) noexcept { ::operator delete(memory, std::align_val_t{64}); }

std::unique_ptr<Server> Device::serve(Tasks& tasks) { return std::make_unique<OneThread>(tasks); }

}  // namespace lazy_native
