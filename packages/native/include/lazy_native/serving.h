// Who runs queued work. The queue hands out one task at a time, in order; which thread runs it is all the same. So a thread that
// the system puts aside between two tasks holds nothing up: another one that waits awake runs the next.
#pragma once

#include <memory>

namespace lazy_native {

// Queued work as the threads that run it see it. Any thread may call any of this at any time.
class Tasks {
 public:
  // A task waits and no thread runs one. Cheap; what it says may be out of date at once.
  virtual bool ready() const noexcept = 0;
  // Runs tasks until there is none; returns at once when another thread does so already.
  virtual void run() = 0;

 protected:
  ~Tasks() = default;
};

// Threads that run tasks as they come.
class Server {
 public:
  // Ends the threads, when the task that runs has ended.
  virtual ~Server() = default;
  // A task is ready: somebody who sleeps must look.
  virtual void wake() noexcept = 0;
};

}  // namespace lazy_native
