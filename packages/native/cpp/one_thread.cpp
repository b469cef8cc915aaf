#include "one_thread.h"

#include <string>
#include <system_error>

#include "lazy_native/errors.h"
#include "lazy_native/spin.h"

namespace lazy_native {

OneThread::OneThread(Tasks& tasks) : tasks_(tasks) {
  try {
    thread_ = std::thread([this] { serve(); });
  } catch (const std::system_error& error) {
    throw Unavailable(std::string("the system starts no thread for the device: ") + error.what(),
                      "raise the limit of processes (ulimit -u) or of address space (ulimit -v)");
  }
}

OneThread::~OneThread() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void OneThread::wake() noexcept {
  if (!asleep_.load()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  wake_.notify_one();
}

void OneThread::serve() {
  const auto called = [this] { return tasks_.ready() || stopping_.load(); };
  while (!stopping_.load()) {
    if (!spin(called)) {
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_.store(true);
      wake_.wait(lock, called);
      asleep_.store(false);
    }
    tasks_.run();
  }
}

}  // namespace lazy_native
