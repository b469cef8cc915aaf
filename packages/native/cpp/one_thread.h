// The server of a device that has no threads of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "lazy_native/serving.h"

namespace lazy_native {

class OneThread final : public Server {
 public:
  // `onStart` runs first on the thread.
  OneThread(Tasks& tasks, std::function<void()> onStart);
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
