// Device memory by number, as JavaScript holds it. An External costs a handle, a reference and a finalizer each, which made them a
// good part of launching an op; src/buffers.ts gives back what JavaScript forgets.
#pragma once

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "pool.h"

namespace lazy_native {

// Positive; 0 is none. Not reused at once by another table, so that a buffer of another backend is recognised.
using BufferId = std::int32_t;

// JavaScript thread.
class Buffers {
 public:
  // Throws OutOfMemory.
  BufferId add(Pool& pool, std::size_t bytes, std::int64_t size, DType dtype) {
    const std::uint32_t index = vacant();
    Slot& slot = slots_[index];
    slot.block = pool.allocate(bytes);
    slot.tensor = {slot.block->memory, size, dtype};
    vacant_.pop_back();
    return static_cast<BufferId>(tag_ << indexBits | index);
  }

  Tensor tensor(BufferId id) const { return slots_[indexOf(id)].tensor; }

  void remove(Pool& pool, BufferId id) {
    const std::uint32_t index = indexOf(id);
    Slot& slot = slots_[index];
    pool.free(slot.block);
    slot.tensor = {};
    vacant_.push_back(index);
  }

 private:
  static constexpr std::uint32_t indexBits = 24;

  struct Slot {
    Pool::Handle block{};
    Tensor tensor{};
  };

  static std::uint32_t nextTag() {
    static std::atomic<std::uint32_t> tables{0};
    return tables++ % 126 + 1;
  }

  // A free slot's index, still the last of vacant_.
  std::uint32_t vacant() {
    if (vacant_.empty()) {
      if (slots_.size() >> indexBits != 0) throw std::length_error("more than 16,777,216 buffers are alive");
      vacant_.push_back(static_cast<std::uint32_t>(slots_.size()));
      slots_.emplace_back();
    }
    return vacant_.back();
  }

  std::uint32_t indexOf(BufferId id) const {
    if (id <= 0) throw std::invalid_argument("buffer was freed");
    const auto bits = static_cast<std::uint32_t>(id), index = bits & ((1u << indexBits) - 1);
    if (bits >> indexBits != tag_) throw std::invalid_argument("buffer of another backend");
    if (index >= slots_.size() || !slots_[index].tensor) throw std::invalid_argument("buffer was freed");
    return index;
  }

  const std::uint32_t tag_ = nextTag();
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> vacant_;
};

}  // namespace lazy_native
