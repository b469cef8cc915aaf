#include "pool.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace lazy_native {

namespace {
constexpr std::size_t smallest = 256;
constexpr std::size_t cacheSlack = std::size_t{64} << 20;
}  // namespace

Pool::Pool(Device& device, std::size_t limit, Fence fence) : device_(device), limit_(limit), fence_(std::move(fence)) {}

Pool::~Pool() {
  for (const Cached& block : waiting_) device_.release(block.memory, block.bytes);
  for (const auto& [memory, bytes] : used_) device_.release(memory, bytes);
}

std::size_t Pool::bucket(std::size_t bytes) {
  if (bytes <= smallest) return smallest;
  std::size_t power = smallest;
  while (power <= bytes / 2) power *= 2;
  const std::size_t step = power / 4;
  return (bytes + step - 1) / step * step;
}

void* Pool::fromCache(std::size_t bytes) {
  const auto found = bySize_.find(bytes);
  if (found == bySize_.end()) return nullptr;
  const Waiting::iterator block = found->second.back();  // the youngest is the likeliest to be in the CPU's cache
  found->second.pop_back();
  if (found->second.empty()) bySize_.erase(found);
  void* memory = block->memory;
  waiting_.erase(block);
  statistics_.cached -= bytes;
  return memory;
}

void* Pool::allocate(std::size_t asked) {
  // Beyond this nothing can be rounded up without overflow, and no machine has it.
  const std::size_t bytes = asked > (std::numeric_limits<std::size_t>::max() >> 2) ? asked : bucket(asked);
  const auto fail = [&](const std::string& cause, std::size_t free) {
    throw OutOfMemory(cause + ": asked for " + std::to_string(asked) + " bytes; " + std::to_string(free) +
                          " free, " + std::to_string(statistics_.inUse) + " held by live tensors, " +
                          std::to_string(statistics_.cached) + " cached",
                      asked);
  };
  void* memory = fromCache(bytes);
  if (memory == nullptr) {
    if (limit_ - std::min(limit_, statistics_.inUse) < bytes) {
      fail("memoryLimit of " + std::to_string(limit_) + " bytes would be exceeded",
           limit_ - std::min(limit_, statistics_.inUse));
    }
    if (limit_ - statistics_.inUse < bytes + statistics_.cached) dropAll();
    try {
      memory = device_.allocate(bytes);
    } catch (const OutOfMemory&) {
      dropAll();
      try {
        memory = device_.allocate(bytes);
      } catch (const OutOfMemory& error) {
        fail(error.what(), device_.freeBytes());
      }
    }
    statistics_.systemAllocations += 1;
  }
  used_.emplace(memory, bytes);
  statistics_.inUse += bytes;
  statistics_.peak = std::max(statistics_.peak, statistics_.inUse);
  return memory;
}

void Pool::free(void* memory) {
  const auto found = used_.find(memory);
  if (found == used_.end()) return;
  const std::size_t bytes = found->second;
  used_.erase(found);
  statistics_.inUse -= bytes;
  statistics_.cached += bytes;
  waiting_.push_back({memory, bytes});
  bySize_[bytes].push_back(std::prev(waiting_.end()));
  while (statistics_.inUse + statistics_.cached > statistics_.peak + cacheSlack) dropOldest();
}

void Pool::dropOldest() {
  const Waiting::iterator block = waiting_.begin();
  const auto [memory, bytes] = *block;
  const auto found = bySize_.find(bytes);
  found->second.remove(block);
  if (found->second.empty()) bySize_.erase(found);
  waiting_.erase(block);
  statistics_.cached -= bytes;
  // Queued work may still use it, so it goes in queue order: with the task, whether that runs or is dropped at the end.
  const std::shared_ptr<void> owner(memory, [&device = device_, bytes = bytes](void* m) { device.release(m, bytes); });
  fence_.later([owner] {});
}

void Pool::dropAll() {
  if (waiting_.empty()) return;
  fence_.now();
  for (const Cached& block : waiting_) device_.release(block.memory, block.bytes);
  waiting_.clear();
  bySize_.clear();
  statistics_.cached = 0;
}

}  // namespace lazy_native
