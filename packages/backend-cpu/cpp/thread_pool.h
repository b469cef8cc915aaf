// A fixed set of threads that share the items of one loop at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace lazy_cpu {

class ThreadPool {
 public:
  // `threads` counts the caller of `run`, so 1 starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(item, thread) for every item < count, 0 <= thread < threads(); returns when all are done. Items are handed
  // out as threads come free, so a result must depend on its item alone, never on the thread. One caller at a time; `work`
  // must not throw.
  template <class Work>
  void run(std::int64_t count, const Work& work) {
    if (count <= 1 || workers_.empty()) {
      for (std::int64_t item = 0; item < count; ++item) work(item, 0);
      return;
    }
    share(count, [](const void* w, std::int64_t item, int thread) { (*static_cast<const Work*>(w))(item, thread); },
          &work);
  }

  // The same over ranges [begin, end) of about `grain` elements; their bounds depend on count and grain only.
  template <class Work>
  void ranges(std::int64_t count, std::int64_t grain, const Work& work) {
    run((count + grain - 1) / grain, [&](std::int64_t item, int) {
      const std::int64_t begin = item * grain;
      work(begin, begin + grain < count ? begin + grain : count);
    });
  }

 private:
  using Call = void (*)(const void* work, std::int64_t item, int thread);

  void share(std::int64_t count, Call call, const void* work);
  void serve(int thread);
  void take(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int> asleep_{0};  // workers that wait for wake_
  std::atomic<bool> waiting_{false};  // the caller waits for done_
  std::atomic<bool> stopping_{false};
  // Items of the loop not handed out, and not finished. Who counts `left_` down from n > 0 owns item count_ - n, and until
  // that is counted off `open_` the loop cannot end; so the three below are read by owners of an item only.
  std::atomic<std::int64_t> left_{0}, open_{0};
  std::int64_t count_ = 0;
  Call call_ = nullptr;
  const void* work_ = nullptr;
};

}  // namespace lazy_cpu
