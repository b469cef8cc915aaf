// A fixed set of threads that share the items of one loop at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lazy_native/serving.h"

namespace lazy_cpu {

class ThreadPool {
 public:
  // Both throw Unavailable where the system does not start as many threads; it says how many there were.
  // `threads` counts the thread that calls `run`, which is not the pool's; so 1 starts none.
  explicit ThreadPool(int threads) : ThreadPool(threads, nullptr) {}
  // All threads are the pool's. Any of them runs `tasks`, and `run` is for inside a task.
  ThreadPool(int threads, lazy_native::Tasks& tasks) : ThreadPool(threads, &tasks) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls work(item, thread) for every item < count, 0 <= thread < threads(); returns when all are done. Each thread has a
  // stretch of consecutive items of its own and goes through it in order; one that is through takes items from the end of
  // another's. So a result must depend on its item alone, never on the thread. One caller at a time; `work` must not throw.
  template <class Work>
  void run(std::int64_t count, const Work& work) {
    if (count <= 1 || threads_ == 1) {
      for (std::int64_t item = 0; item < count; ++item) work(item, 0);
      return;
    }
    const Call call = [](const void* w, std::int64_t begin, std::int64_t end, int thread) {
      for (std::int64_t item = begin; item < end; ++item) (*static_cast<const Work*>(w))(item, thread);
    };
    share(count, call, &work, false);
  }

  // The same for items that are read from memory in a microsecond or so: work(begin, end). To take an item is a locked
  // instruction, and no later load begins before it is done; so a thread takes half of what is left of its stretch at a time.
  // One that the system puts aside then holds up the others with more than one item.
  template <class Work>
  void stream(std::int64_t count, const Work& work) {
    if (count <= 1 || threads_ == 1) {
      if (count > 0) work(std::int64_t{0}, count);
      return;
    }
    const Call call = [](const void* w, std::int64_t begin, std::int64_t end, int) {
      (*static_cast<const Work*>(w))(begin, end);
    };
    share(count, call, &work, true);
  }

  // The same over ranges [begin, end) of about `grain` elements; their bounds depend on count and grain only.
  template <class Work>
  void ranges(std::int64_t count, std::int64_t grain, const Work& work) {
    run((count + grain - 1) / grain, [&](std::int64_t item, int) {
      const std::int64_t begin = item * grain;
      work(begin, begin + grain < count ? begin + grain : count);
    });
  }

  // Some thread that sleeps must look for tasks.
  void wake() noexcept;

 private:
  using Call = void (*)(const void* work, std::int64_t begin, std::int64_t end, int thread);

  // Items [begin, end) not taken yet, in one word: who changes it owns what is missing afterwards.
  struct alignas(64) Stretch {
    std::atomic<std::uint64_t> items{0};
  };

  ThreadPool(int threads, lazy_native::Tasks* tasks);
  void share(std::int64_t count, Call call, const void* work, bool halves);
  void serve(int thread);
  void stop() noexcept;
  void take(int thread);
  std::int64_t work(Stretch& stretch, bool fromEnd, int thread);

  static thread_local int current_;  // number of this thread; 0 for one that is no pool's

  const int threads_;
  lazy_native::Tasks* const tasks_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int> asleep_{0};        // threads that wait for wake_
  std::atomic<bool> waiting_{false};  // the caller waits for done_
  std::atomic<bool> stopping_{false};
  // The loop. A thread reads call_ and work_ only while it owns an item; until that item is counted off `open_` the loop cannot
  // end, so no other one begins. A wrong idea of halves_ does no harm.
  std::atomic<std::uint32_t> loops_{0};  // begun so far: tells threads to look
  std::atomic<std::int64_t> open_{0};    // items not finished
  Call call_ = nullptr;
  const void* work_ = nullptr;
  std::atomic<bool> halves_{false};
  const std::unique_ptr<Stretch[]> stretches_;  // by thread
  std::vector<std::thread> workers_;
};

}  // namespace lazy_cpu
