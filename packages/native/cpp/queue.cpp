#include "queue.h"

#include <utility>

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
      space_.notify_all();
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
