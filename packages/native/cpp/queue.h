// In-order command queue with its own thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace lazy_native {

class Queue {
 public:
  using Task = std::function<void()>;

  // `onStart` runs first on the queue thread. More than `depth` waiting tasks make `push` wait, which bounds memory when
  // JavaScript launches faster than the device works.
  explicit Queue(Task onStart, std::size_t depth = 8192);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // Tasks pushed after `stop` are dropped: the device is gone.
  void push(Task task);
  // Waits until everything pushed so far has run.
  void drain();
  // Drops what has not begun, waits for the task that runs, ends the thread. May be called twice.
  void stop();
  // The first error thrown by a task since the last call, and forgets it; nullptr for none. Any thread.
  std::exception_ptr takeError();

 private:
  void work(const Task& onStart);

  const std::size_t depth_;
  std::mutex mutex_;
  std::condition_variable wake_, space_;
  std::deque<Task> tasks_;
  std::atomic<bool> called_{false};  // tasks_ is not empty, or stopping_: for looking without the lock
  bool running_ = false, stopping_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace lazy_native
