// Tensors of middle size, out of slabs in huge pages.
//
// Why: a weight of 1 MiB in a mapping of its own lies in 4 KiB pages, and reading it is held up by address translation and by
// prefetchers that stop at a page's end. Measurements: docs/kernels/cpu.md.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace lazy_cpu {

inline constexpr std::size_t hugePage = std::size_t{2} << 20;

// Asks for huge pages where they fit into [memory, memory + bytes); a hint, so nothing tells whether they came.
void adviseHugePages(void* memory, std::size_t bytes);

// Any thread.
class Arena {
 public:
  static constexpr std::size_t slab = std::size_t{32} << 20;
  static constexpr std::size_t smallest = std::size_t{32} << 10, largest = std::size_t{8} << 20;

  Arena() = default;
  ~Arena();  // all blocks have been released
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // smallest <= bytes <= largest. nullptr when the system has no memory left.
  void* allocate(std::size_t bytes);
  void release(void* memory, std::size_t bytes) noexcept;
  // Of all slabs.
  std::size_t bytes() const;

 private:
  bool grow();

  mutable std::mutex mutex_;
  std::map<char*, std::size_t> holes_;  // by address
  std::size_t slabs_ = 0;
};

}  // namespace lazy_cpu
