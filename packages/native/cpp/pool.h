// Caching allocator: memory that an op gives back is kept for the next one of about the same size.
//
// Why: asking the system costs a page fault per 4 KiB (a device allocation costs a synchronisation), and training asks
// for the same sizes at every step. Reuse is in queue order (device.h), so a freed block is usable at once.
//
// Sizes are rounded up to one of four steps per power of two, so at most a quarter of a block is slack. What is kept and
// not used is bounded by the most that was ever in use at one time, plus a third where the device has as much free, else 64 MiB;
// beyond that the blocks that waited longest go back to the device. With less, training, whose forward and backward pass ask
// for different sizes, would drop what its next step wants. A block moves between lists by splicing, so that reuse allocates nothing. Not thread safe:
// JavaScript thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>

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

  struct Block {
    void* memory;
    std::size_t bytes;
    std::uint64_t freed = 0;  // when, counted in frees
  };
  using Handle = std::list<Block>::iterator;

  Pool(Device& device, std::size_t limit, Fence fence);
  ~Pool();  // gives everything back, in use or not; nothing may be queued any more
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Throws OutOfMemory with the bytes asked for, what is free and what is held.
  Handle allocate(std::size_t bytes);
  void free(Handle block);
  const PoolStatistics& statistics() const { return statistics_; }

 private:
  // Blocks of one size, the one freed last at the back.
  using Shelf = std::list<Block>;

  // Shelf of the blocks that serve `bytes`, and their size.
  static std::size_t shelfOf(std::size_t bytes, std::size_t& size);
  // Whether what is held is within the bound.
  bool mayKeepAll();
  void dropOldest();
  void dropAll();
  void giveBack(const Block& block) { device_.release(block.memory, block.bytes); }

  Device& device_;
  const std::size_t limit_;
  const Fence fence_;
  PoolStatistics statistics_;
  static constexpr std::size_t slackLeast = std::size_t{64} << 20;
  std::size_t slack_ = slackLeast;  // kept beyond the peak
  std::size_t askedAt_ = 0;         // the peak at which the device was last asked for more
  std::uint64_t frees_ = 0;
  std::list<Block> used_;
  std::array<Shelf, 4 * 64 + 1> shelves_;
};

}  // namespace lazy_native
