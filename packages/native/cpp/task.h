// A callable that lives inside the slot it was put in: queueing an op costs no allocation, and none is freed by another thread
// than the one that made it, which is what allocators are slowest at.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

#include "lazy_native/ops.h"

namespace lazy_native {

class alignas(64) Task {
 public:
  // What is left to do once the next task may begin. Empty for nothing.
  using Afterwards = std::function<void()>;

  // Bytes: the largest op, and what it is run with.
#define LAZY_SIZE(name, Op) sizeof(Op),
  static constexpr std::size_t room = std::max({LAZY_OPS(LAZY_SIZE) LAZY_FUSED_OPS(LAZY_SIZE) std::size_t{32}}) + 32;
#undef LAZY_SIZE

  Task() = default;
  ~Task() { clear(); }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // `work()` returns nothing or an Afterwards.
  template <class Work>
  void set(Work&& work) {
    using Stored = std::decay_t<Work>;
    static_assert(sizeof(Stored) <= room && alignof(Stored) <= alignof(std::max_align_t),
                  "Task::room is for ops; what else is queued must be smaller");
    clear();
    new (memory_) Stored(std::forward<Work>(work));
    call_ = [](void* stored) -> Afterwards {
      auto& callable = *static_cast<Stored*>(stored);
      if constexpr (std::is_void_v<decltype(callable())>) {
        callable();
        return {};
      } else {
        return callable();
      }
    };
    if constexpr (!std::is_trivially_destructible_v<Stored>)
      destroy_ = [](void* stored) { static_cast<Stored*>(stored)->~Stored(); };
  }

  Afterwards operator()() { return call_(memory_); }

  // Lets go of what the callable holds.
  void clear() {
    if (destroy_ == nullptr) return;
    destroy_(memory_);
    destroy_ = nullptr;
  }

 private:
  // Before the memory, whose first bytes are all that most ops take: two threads hand two cache lines on, not three.
  Afterwards (*call_)(void*) = nullptr;
  void (*destroy_)(void*) = nullptr;
  alignas(std::max_align_t) unsigned char memory_[room];
};

}  // namespace lazy_native
