// Caching allocator: memory that an op gives back is kept for the next one of about the same size.
//
// Why: asking the system costs a page fault per 4 KiB (a device allocation costs a synchronisation), and training asks
// for the same sizes at every step. Reuse is in queue order (device.h), so a freed block is usable at once.
//
// Sizes are rounded up to one of four steps per power of two, so at most a quarter of a block is slack. What is kept and
// not used is bounded by the most that was ever in use at one time, plus 64 MiB; beyond that the blocks that waited
// longest go back to the device. Not thread safe: JavaScript thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <unordered_map>

#include "lazy_native/device.h"

namespace lazy_native {

struct PoolStatistics {
  std::size_t inUse = 0;   // handed out
  std::size_t cached = 0;  // kept for reuse
  std::size_t peak = 0;    // most in use at one time
  std::uint64_t systemAllocations = 0;
};

class Pool {
 public:
  // `later` runs a function once all work queued so far is done; `now` waits for that.
  struct Fence {
    std::function<void(std::function<void()>)> later;
    std::function<void()> now;
  };

  Pool(Device& device, std::size_t limit, Fence fence);
  ~Pool();  // gives everything back, in use or not; nothing may be queued any more
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Throws OutOfMemory with the bytes asked for, what is free and what is held.
  void* allocate(std::size_t bytes);
  void free(void* memory);
  const PoolStatistics& statistics() const { return statistics_; }

  static std::size_t bucket(std::size_t bytes);

 private:
  struct Cached {
    void* memory;
    std::size_t bytes;
  };
  using Waiting = std::list<Cached>;  // oldest first

  void* fromCache(std::size_t bytes);
  void dropOldest();
  void dropAll();

  Device& device_;
  const std::size_t limit_;
  const Fence fence_;
  PoolStatistics statistics_;
  std::unordered_map<void*, std::size_t> used_;
  Waiting waiting_;
  std::map<std::size_t, std::list<Waiting::iterator>> bySize_;
};

}  // namespace lazy_native
