// One device with its queue, its memory and its promises, as one JavaScript environment (main or worker thread) uses it.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "failure.h"
#include "lazy_native/device.h"
#include "pool.h"
#include "queue.h"

namespace lazy_native {

class Session;

// A piece of device memory that JavaScript holds through an External. Freed by `free`, else when it is collected.
class Buffer {
 public:
  Buffer(std::shared_ptr<Session> session, std::size_t bytes, std::int64_t size, DType dtype);
  ~Buffer() { free(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void free();
  Tensor tensor() const { return {memory_, size_, dtype_}; }
  const Session* session() const { return session_.get(); }

 private:
  const std::shared_ptr<Session> session_;
  const std::int64_t size_;
  const DType dtype_;
  void* memory_;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Napi::Env env, std::unique_ptr<Device> device, std::size_t memoryLimit);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Device& device() { return *device_; }
  Pool& pool() { return *pool_; }
  bool closed() const { return device_ == nullptr; }

  std::unique_ptr<Buffer> create(std::int64_t size, DType dtype);
  std::unique_ptr<Buffer> createBytes(std::size_t bytes);

  // Queues an op with the scratch that the device wants for it.
  template <class Op>
  void launch(Op op);
  // Copies `bytes` from host memory before it returns.
  void upload(void* to, const void* from, std::size_t bytes);
  // Resolves with `array` once `bytes` from `from` are in `host`, its memory.
  Napi::Promise download(Napi::Env env, Napi::Object array, void* host, const void* from, std::size_t bytes);
  Napi::Promise synchronize(Napi::Env env);
  // Finishes what is queued, then closes.
  Napi::Promise dispose(Napi::Env env);

  // Drops queued work, joins the thread, gives all memory back. May be called twice.
  void close();

 private:
  struct Settlement;

  template <class Op>
  static auto wantsWorkspace(int) -> decltype(std::declval<const Device&>().workspaceBytes(std::declval<const Op&>()),
                                              std::true_type{});
  template <class Op>
  static std::false_type wantsWorkspace(...);

  void refuseWhenLost() const;
  // Queues `work` and settles a promise with `value` (or undefined) when it is done.
  Napi::Promise settle(Napi::Env env, Napi::Value value, std::function<void()> work, bool closing);
  static void settleOnJavaScriptThread(Napi::Env env, Napi::Function, Session* self, Settlement* settlement);
  static void closeAtExit(void* self);

  const Napi::Env env_;
  std::unique_ptr<Device> device_;
  std::atomic<bool> lost_{false};
  std::atomic<std::size_t> staged_{0};
  std::size_t pending_ = 0;  // promises not settled; JavaScript thread
  using Notify = Napi::TypedThreadSafeFunction<Session, Settlement, settleOnJavaScriptThread>;
  Notify notify_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Queue> queue_;
};

template <class Op>
void Session::launch(Op op) {
  refuseWhenLost();
  Device* device = device_.get();
  if constexpr (decltype(wantsWorkspace<Op>(0))::value) {
    const std::size_t bytes = device->workspaceBytes(op);
    void* workspace = bytes == 0 ? nullptr : pool_->allocate(bytes);
    queue_->push([this, device, op = std::move(op), workspace] {
      if (!lost_) device->run(op, workspace);
    });
    // Free for the next op already: work runs in queue order.
    if (workspace != nullptr) pool_->free(workspace);
  } else {
    queue_->push([this, device, op = std::move(op)] {
      if (!lost_) device->run(op);
    });
  }
}

}  // namespace lazy_native
