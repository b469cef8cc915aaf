#include "thread_pool.h"

#include <string>
#include <system_error>

#include "lazy_native/errors.h"
#include "lazy_native/spin.h"

namespace lazy_cpu {

using lazy_native::spin;

namespace {

constexpr std::uint64_t stretchOf(std::uint64_t begin, std::uint64_t end) { return begin << 32 | end; }

}  // namespace

thread_local int ThreadPool::current_ = 0;

ThreadPool::ThreadPool(int threads, lazy_native::Tasks* tasks)
    : threads_(threads), tasks_(tasks), stretches_(std::make_unique<Stretch[]>(static_cast<std::size_t>(threads))) {
  workers_.reserve(static_cast<std::size_t>(threads));
  try {
    for (int thread = tasks == nullptr ? 1 : 0; thread < threads; ++thread)
      workers_.emplace_back([this, thread] { serve(thread); });
  } catch (const std::system_error& error) {
    const std::size_t started = workers_.size();
    stop();
    throw lazy_native::Unavailable("the system started " + std::to_string(started) + " of " + std::to_string(threads) +
                                       " threads: " + error.what(),
                                   "ask for fewer with the option threads or LAZY_ATTENTION_THREADS, or raise the "
                                   "limit of processes (ulimit -u) or "
                                   "of address space (ulimit -v)");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::wake() noexcept {
  if (asleep_.load() == 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  wake_.notify_one();
}

// A loop does not need every thread: one that the system has put aside holds up the others only if it holds an item. So
// JavaScript, which launches on a core of its own only where there is one to spare, does not stop the work.
void ThreadPool::share(std::int64_t count, Call call, const void* work, bool halves) {
  call_ = call;
  work_ = work;
  halves_.store(halves, std::memory_order_relaxed);
  open_.store(count, std::memory_order_relaxed);
  for (int thread = 0; thread < threads_; ++thread) {
    const std::int64_t begin = count * thread / threads_, end = count * (thread + 1) / threads_;
    stretches_[static_cast<std::size_t>(thread)].items.store(
        stretchOf(static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end)), std::memory_order_release);
  }
  loops_.fetch_add(1);  // before the look at asleep_, so that no worker misses both
  if (asleep_.load() > 0) {
    // A worker that counted itself asleep has seen no work under the lock or is waiting.
    const std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  take(current_);
  const auto idle = [this] { return open_.load(std::memory_order_acquire) == 0; };
  if (spin(idle)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  waiting_.store(true);
  done_.wait(lock, [this] { return open_.load() == 0; });
  waiting_.store(false);
}

// Takes items until there are none: of another's stretch one by one from the end, of the thread's own from the front. How many
// they were.
std::int64_t ThreadPool::work(Stretch& stretch, bool fromEnd, int thread) {
  std::int64_t finished = 0;
  std::uint64_t items = stretch.items.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t begin = items >> 32, end = items & 0xffffffffu;
    if (begin >= end) return finished;
    const std::uint64_t count = fromEnd || !halves_.load(std::memory_order_relaxed) ? 1 : (end - begin + 1) / 2;
    const std::uint64_t rest = fromEnd ? stretchOf(begin, end - count) : stretchOf(begin + count, end);
    if (!stretch.items.compare_exchange_weak(items, rest, std::memory_order_acquire, std::memory_order_relaxed))
      continue;
    const auto first = static_cast<std::int64_t>(fromEnd ? end - count : begin);
    call_(work_, first, first + static_cast<std::int64_t>(count), thread);
    finished += static_cast<std::int64_t>(count);
    items = stretch.items.load(std::memory_order_relaxed);
  }
}

void ThreadPool::take(int thread) {
  std::int64_t finished = work(stretches_[static_cast<std::size_t>(thread)], false, thread);
  for (int other = thread + 1; other < thread + threads_; ++other)
    finished += work(stretches_[static_cast<std::size_t>(other % threads_)], true, thread);
  if (finished == 0 || open_.fetch_sub(finished) != finished || !waiting_.load()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  done_.notify_one();
}

void ThreadPool::serve(int thread) {
  current_ = thread;
  std::uint32_t seen = 0;
  const auto called = [&] {
    return loops_.load() != seen || (tasks_ != nullptr && tasks_->ready()) || stopping_.load(std::memory_order_relaxed);
  };
  while (!stopping_.load()) {
    if (!spin(called)) {
      std::unique_lock<std::mutex> lock(mutex_);
      ++asleep_;
      wake_.wait(lock, called);
      --asleep_;
    }
    seen = loops_.load();
    take(thread);
    if (tasks_ != nullptr) tasks_->run();
  }
}

}  // namespace lazy_cpu
