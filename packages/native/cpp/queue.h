// In-order command queue: one thread pushes, any of a server's threads runs, one task at a time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "lazy_native/serving.h"
#include "task.h"

namespace lazy_native {

class Queue final : public Tasks {
 public:
  using Serve = std::function<std::unique_ptr<Server>(Tasks&)>;

  // When `depth` tasks wait, `push` waits until half of them have run: that bounds memory when JavaScript launches faster than
  // the device works.
  explicit Queue(const Serve& serve, std::size_t depth = 4096);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // ---- by the one thread that pushes ----
  // `work` is a Task's. After `stop` it is dropped: the device is gone.
  template <class Work>
  void push(Work&& work) {
    if (stopping_.load(std::memory_order_relaxed)) return;
    const std::size_t end = end_.load(std::memory_order_relaxed);
    if (end - seen_ == depth_) seen_ = begin_.load(std::memory_order_acquire);
    if (end - seen_ == depth_) waitForRoom();
    slots_[end % depth_].set(std::forward<Work>(work));
    // Before the look at running_, so that either this or the thread that has just stopped sees the other.
    end_.store(end + 1);
    if (!running_.load()) waker_->wake();
  }
  // Waits until everything pushed so far has run.
  void drain();
  // Drops what has not begun, waits for the task that runs, ends the server. May be called twice.
  void stop();

  // ---- by any thread ----
  // The first error thrown by a task since the last call, and forgets it; nullptr for none.
  std::exception_ptr takeError();
  bool ready() const noexcept override { return !running_.load() && waits(); }
  void run() override;

 private:
  bool waits() const noexcept { return begin_.load() != end_.load() && !stopping_.load(std::memory_order_relaxed); }
  void waitForRoom();
  template <class Done>
  void waitUntil(const Done& done);
  void tellWhoWaits();
  Task::Afterwards runFirst();

  const std::size_t depth_;
  const std::unique_ptr<Task[]> slots_;
  // Slots [begin_, end_) modulo depth_ hold tasks. end_ belongs to the thread that pushes, begin_ to the one that runs; each
  // has a cache line, and so has what both look at and seldom write.
  alignas(64) std::atomic<std::size_t> end_{0};
  std::size_t seen_ = 0;  // begin_, when the pushing thread last looked
  alignas(64) std::atomic<std::size_t> begin_{0};
  alignas(64) std::atomic<bool> running_{false};  // some thread runs tasks
  std::atomic<bool> stopping_{false};
  std::atomic<bool> waited_{false};  // the pushing thread waits for space_
  std::mutex mutex_;
  std::condition_variable space_;
  std::exception_ptr error_;  // under mutex_
  std::unique_ptr<Server> server_;
  Server* waker_;  // server_ for its threads, which see it until they have ended
};

}  // namespace lazy_native
