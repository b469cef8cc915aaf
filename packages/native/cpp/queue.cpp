#include "queue.h"

namespace lazy_native {

Queue::Queue(const Serve& serve, std::size_t depth) : depth_(depth), slots_(std::make_unique<Task[]>(depth)) {
  server_ = serve(*this);
  waker_ = server_.get();
}

Queue::~Queue() { stop(); }

template <class Done>
void Queue::waitUntil(const Done& done) {
  std::unique_lock<std::mutex> lock(mutex_);
  waited_.store(true);  // before the look at what is done: tellWhoWaits looks the other way round
  space_.wait(lock, done);
  waited_.store(false);
}

void Queue::tellWhoWaits() {
  if (!waited_.load()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  space_.notify_all();
}

void Queue::waitForRoom() {
  waitUntil([this] { return end_.load() - begin_.load() <= depth_ / 2; });
  seen_ = begin_.load();
}

void Queue::drain() {
  waitUntil([this] { return stopping_.load() || (begin_.load() == end_.load() && !running_.load()); });
}

void Queue::stop() {
  stopping_ = true;
  server_.reset();
  for (std::size_t i = begin_.load(); i != end_.load(); ++i) slots_[i % depth_].clear();
  begin_.store(end_.load());
}

std::exception_ptr Queue::takeError() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(error_, nullptr);
}

Task::Afterwards Queue::runFirst() {
  const std::size_t begin = begin_.load(std::memory_order_relaxed);
  Task& task = slots_[begin % depth_];
  Task::Afterwards afterwards;
  try {
    afterwards = task();
  } catch (...) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
  task.clear();
  begin_.store(begin + 1);
  return afterwards;
}

void Queue::run() {
  while (waits()) {
    if (running_.exchange(true)) return;  // who runs looks again when it has stopped
    Task::Afterwards afterwards;
    while (waits() && !afterwards) {
      afterwards = runFirst();
      tellWhoWaits();
    }
    running_.store(false);
    tellWhoWaits();
    if (!afterwards) continue;
    if (waits()) waker_->wake();
    afterwards();
  }
}

}  // namespace lazy_native
