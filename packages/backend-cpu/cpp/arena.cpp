#include "arena.h"

#include <cstdint>
#include <iterator>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lazy_cpu {

namespace {

static_assert(Arena::slab % hugePage == 0 && Arena::largest <= Arena::slab / 2);

// Slabs are aligned to their size.
std::uintptr_t slabOf(const char* memory) { return reinterpret_cast<std::uintptr_t>(memory) / Arena::slab; }

// Blocks begin at whole cache lines.
std::size_t rounded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

void drop(char* memory) { ::operator delete(memory, std::align_val_t{Arena::slab}); }

}  // namespace

void adviseHugePages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  madvise(memory, bytes / hugePage * hugePage, MADV_HUGEPAGE);
#endif
}

Arena::~Arena() {
  for (const auto& [memory, bytes] : holes_)
    if (bytes == slab) drop(memory);
}

bool Arena::grow() {
  auto* memory = static_cast<char*>(::operator new(slab, std::align_val_t{slab}, std::nothrow));
  if (memory == nullptr) return false;
  adviseHugePages(memory, slab);
  holes_.emplace(memory, slab);
  ++slabs_;
  return true;
}

std::size_t Arena::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return slabs_ * slab;
}

// The first hole that is large enough: what is used stays together, and slabs at the end come free.
void* Arena::allocate(std::size_t bytes) {
  bytes = rounded(bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto fits = [&] {
    auto hole = holes_.begin();
    while (hole != holes_.end() && hole->second < bytes) ++hole;
    return hole;
  };
  auto hole = fits();
  if (hole == holes_.end()) {
    if (!grow()) return nullptr;
    hole = fits();
  }
  const auto [memory, size] = *hole;
  holes_.erase(hole);
  if (size > bytes) holes_.emplace(memory + bytes, size - bytes);
  return memory;
}

// Joins the hole with its neighbours in the same slab. One empty slab is kept for the next time.
void Arena::release(void* block, std::size_t bytes) noexcept {
  bytes = rounded(bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  auto* memory = static_cast<char*>(block);
  auto next = holes_.lower_bound(memory);
  if (next != holes_.end() && next->first == memory + bytes && slabOf(next->first) == slabOf(memory)) {
    bytes += next->second;
    next = holes_.erase(next);
  }
  if (next != holes_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == memory && slabOf(before->first) == slabOf(memory)) {
      memory = before->first;
      bytes += before->second;
      holes_.erase(before);
    }
  }
  if (bytes == slab) {
    for (const auto& [other, size] : holes_) {
      if (size != slab) continue;
      drop(memory);
      --slabs_;
      return;
    }
  }
  holes_.emplace(memory, bytes);
}

}  // namespace lazy_cpu
