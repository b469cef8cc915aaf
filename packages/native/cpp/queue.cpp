#include "queue.h"

#include <utility>

#include "lazy_native/spin.h"

namespace lazy_native {

Queue::Queue(Task onStart, std::size_t depth) : depth_(depth) {
  thread_ = std::thread([this, onStart = std::move(onStart)] { work(onStart); });
}

Queue::~Queue() { stop(); }

void Queue::push(Task task) {
  std::unique_lock<std::mutex> lock(mutex_);
  space_.wait(lock, [this] { return stopping_ || tasks_.size() < depth_; });
  if (stopping_) return;
  tasks_.push_back(std::move(task));
  called_.store(true, std::memory_order_relaxed);
  // A busy worker looks for more by itself; waking costs a system call only when it sleeps.
  if (!running_) wake_.notify_one();
}

void Queue::drain() {
  std::unique_lock<std::mutex> lock(mutex_);
  space_.wait(lock, [this] { return stopping_ || (tasks_.empty() && !running_); });
}

void Queue::stop() {
  std::deque<Task> dropped;  // destroyed without the lock: a task's captures may be anything
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    called_ = true;
    dropped.swap(tasks_);
  }
  wake_.notify_all();
  space_.notify_all();
  if (thread_.joinable()) thread_.join();
}

std::exception_ptr Queue::takeError() {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(error_, nullptr);
}

void Queue::work(const Task& onStart) {
  Task task = onStart;
  std::unique_lock<std::mutex> lock(mutex_);
  running_ = true;
  for (;;) {
    lock.unlock();
    std::exception_ptr error;
    try {
      task();
    } catch (...) {
      error = std::current_exception();
    }
    task = nullptr;
    lock.lock();
    if (error && !error_) error_ = error;
    if (tasks_.empty()) {
      running_ = false;
      called_.store(false, std::memory_order_relaxed);
      space_.notify_all();
      lock.unlock();
      spin([this] { return called_.load(std::memory_order_relaxed); });
      lock.lock();
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      running_ = !tasks_.empty();
    } else if (tasks_.size() + 1 >= depth_) {
      space_.notify_all();
    }
    if (stopping_) {
      running_ = false;
      return;
    }
    task = std::move(tasks_.front());
    tasks_.pop_front();
  }
}

}  // namespace lazy_native
