// The server of a device that has no threads of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "lazy_native/serving.h"

namespace lazy_native {

class OneThread final : public Server {
 public:
  // Throws Unavailable where the system starts no thread.
  explicit OneThread(Tasks& tasks);
  ~OneThread() override;
  void wake() noexcept override;

 private:
  void serve();

  Tasks& tasks_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> asleep_{false}, stopping_{false};
  std::thread thread_;
};

}  // namespace lazy_native
