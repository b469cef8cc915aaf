#include "thread_pool.h"

#include "lazy_native/spin.h"

namespace lazy_cpu {

using lazy_native::spin;

ThreadPool::ThreadPool(int threads) {
  for (int thread = 1; thread < threads; ++thread) workers_.emplace_back([this, thread] { serve(thread); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// A loop does not need every thread: one that the system has put aside holds up the others only if it holds an item. So
// JavaScript, which launches on a core of its own only where there is one to spare, does not stop the work.
void ThreadPool::share(std::int64_t count, Call call, const void* work) {
  count_ = count;
  call_ = call;
  work_ = work;
  open_.store(count, std::memory_order_relaxed);
  left_.store(count);  // publishes the above; before the look at asleep_, so that no worker misses both
  if (asleep_.load() > 0) {
    // A worker that counted itself asleep has seen no work under the lock or is waiting.
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  take(0);
  const auto idle = [this] { return open_.load(std::memory_order_acquire) == 0; };
  if (spin(idle)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  waiting_.store(true);
  done_.wait(lock, [this] { return open_.load() == 0; });
  waiting_.store(false);
}

void ThreadPool::take(int thread) {
  std::int64_t left = left_.load(std::memory_order_relaxed), finished = 0;
  while (left > 0) {
    if (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acquire, std::memory_order_relaxed)) continue;
    call_(work_, count_ - left, thread);
    ++finished;
    left = left_.load(std::memory_order_relaxed);
  }
  if (finished == 0 || open_.fetch_sub(finished) != finished || !waiting_.load()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  done_.notify_one();
}

void ThreadPool::serve(int thread) {
  const auto called = [this] { return stopping_.load() || left_.load() > 0; };
  while (!stopping_) {
    if (!spin(called)) {
      std::unique_lock<std::mutex> lock(mutex_);
      ++asleep_;
      wake_.wait(lock, called);
      --asleep_;
    }
    take(thread);
  }
}

}  // namespace lazy_cpu
