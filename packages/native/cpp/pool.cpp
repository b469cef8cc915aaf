#include "pool.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

namespace lazy_native {

namespace {
constexpr std::size_t smallest = 256;
}  // namespace

Pool::Pool(Device& device, std::size_t limit, Fence fence) : device_(device), limit_(limit), fence_(std::move(fence)) {}

Pool::~Pool() {
  for (const Block& block : used_) giveBack(block);
  for (const Shelf& shelf : shelves_)
    for (const Block& block : shelf) giveBack(block);
}

std::size_t Pool::shelfOf(std::size_t bytes, std::size_t& size) {
  std::size_t power = smallest, shelf = 0;
  for (; power <= bytes / 2; power *= 2) shelf += 4;
  const std::size_t step = power / 4, steps = bytes <= smallest ? 4 : (bytes + step - 1) / step;
  size = steps * step;
  return shelf + steps - 4;
}

Pool::Handle Pool::allocate(std::size_t asked) {
  const auto fail = [&](const std::string& cause, std::size_t free) {
    throw OutOfMemory(cause + ": asked for " + std::to_string(asked) + " bytes; " + std::to_string(free) + " free, " +
                          std::to_string(statistics_.inUse) + " held by live tensors, " +
                          std::to_string(statistics_.cached) + " cached",
                      asked);
  };
  std::size_t bytes = asked;
  Shelf found;  // of one block
  // Beyond this nothing can be rounded up without overflow, and no machine has it.
  if (asked <= std::numeric_limits<std::size_t>::max() >> 2) {
    Shelf& shelf = shelves_[shelfOf(asked, bytes)];
    // The youngest is the likeliest to be in the CPU's cache.
    if (!shelf.empty()) found.splice(found.end(), shelf, std::prev(shelf.end()));
  }
  if (found.empty()) {
    if (limit_ - std::min(limit_, statistics_.inUse) < bytes) {
      fail("memoryLimit of " + std::to_string(limit_) + " bytes would be exceeded",
           limit_ - std::min(limit_, statistics_.inUse));
    }
    if (limit_ - statistics_.inUse < bytes + statistics_.cached) dropAll();
    void* memory = nullptr;
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
    found.push_back({memory, bytes});
  } else {
    statistics_.cached -= bytes;
  }
  const Handle block = found.begin();
  used_.splice(used_.end(), found);
  statistics_.inUse += bytes;
  statistics_.peak = std::max(statistics_.peak, statistics_.inUse);
  return block;
}

void Pool::free(Handle block) {
  std::size_t bytes = 0;
  Shelf& shelf = shelves_[shelfOf(block->bytes, bytes)];
  block->freed = ++frees_;
  shelf.splice(shelf.end(), used_, block);
  statistics_.inUse -= bytes;
  statistics_.cached += bytes;
  while (!mayKeepAll()) dropOldest();
}

bool Pool::mayKeepAll() {
  const std::size_t held = statistics_.inUse + statistics_.cached;
  if (held <= statistics_.peak + slack_) return true;
  if (askedAt_ == statistics_.peak) return false;
  // Once for each peak: the device asks the system.
  askedAt_ = statistics_.peak;
  const std::size_t third = askedAt_ / 3;
  slack_ = device_.freeBytes() >= third ? std::max(slackLeast, third) : slackLeast;
  return held <= statistics_.peak + slack_;
}

void Pool::dropOldest() {
  Shelf* oldest = nullptr;
  for (Shelf& shelf : shelves_)
    if (!shelf.empty() && (oldest == nullptr || shelf.front().freed < oldest->front().freed)) oldest = &shelf;
  const Block block = oldest->front();
  oldest->pop_front();
  statistics_.cached -= block.bytes;
  // Queued work may still use it, so it goes in queue order: with the task, whether that runs or is dropped at the end.
  const std::shared_ptr<void> owner(block.memory,
                                    [&device = device_, bytes = block.bytes](void* m) { device.release(m, bytes); });
  fence_.later([owner] {});
}

void Pool::dropAll() {
  if (statistics_.cached == 0) return;
  fence_.now();
  for (Shelf& shelf : shelves_) {
    for (const Block& block : shelf) giveBack(block);
    shelf.clear();
  }
  statistics_.cached = 0;
}

}  // namespace lazy_native
