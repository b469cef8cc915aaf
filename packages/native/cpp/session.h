// One device with its queue, its memory and its promises, as one JavaScript environment (main or worker thread) uses it.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "buffers.h"
#include "failure.h"
#include "lazy_native/device.h"
#include "pool.h"
#include "queue.h"

namespace lazy_native {

class Session;

// Device memory that an op is about to fill; given back unless JavaScript takes it over. Empty by default.
class NewBuffer {
 public:
  NewBuffer() = default;
  NewBuffer(Session& session, BufferId id) : session_(&session), id_(id) {}
  ~NewBuffer();
  NewBuffer(NewBuffer&& other) noexcept : session_(other.session_), id_(other.release()) {}
  NewBuffer& operator=(NewBuffer&& other) noexcept {
    std::swap(session_, other.session_);
    std::swap(id_, other.id_);
    return *this;
  }

  Tensor tensor() const;
  // Of one that is empty.
  void hold(Session& session, BufferId id) {
    session_ = &session;
    id_ = id;
  }
  // 0 when empty.
  BufferId release() { return std::exchange(id_, 0); }

 private:
  Session* session_ = nullptr;
  BufferId id_ = 0;
};

// How much the op that has most of them needs.
struct Room {
  std::size_t outputs, axes;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  // `errorOf(op, code, message, requestedBytes, fix)` makes core's error of a failure.
  Session(Napi::Env env, std::unique_ptr<Device> device, std::size_t memoryLimit, Napi::Function errorOf, Room room);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Device& device() { return *device_; }
  Pool& pool() { return *pool_; }
  bool closed() const { return device_ == nullptr; }
  Napi::Function errorOf() const { return errorOf_.Value(); }

  NewBuffer create(std::int64_t size, DType dtype) { return {*this, createId(size, dtype)}; }
  BufferId createId(std::int64_t size, DType dtype) {
    refuseWhenLost();
    if (size < 0) throw std::invalid_argument(std::to_string(size) + " elements");
    // Bytes that 64 bits do not count.
    if (size >> 61 != 0) throw OutOfMemory("no memory has so many bytes", std::numeric_limits<std::size_t>::max());
    return buffers_.add(*pool_, bytesOf(dtype, size), size, dtype);
  }
  NewBuffer createBytes(std::size_t bytes);
  Tensor tensor(BufferId id) const { return buffers_.tensor(id); }
  void free(BufferId id);

  // ---- memory shared with JavaScript, which costs less than arguments and results ----
  // Where ops with several outputs put their numbers, 0 for none.
  Napi::Value outputs() const { return outputs_.Value(); }
  double* sharedOutputs() { return outputsData_; }
  // Where JavaScript puts the Axes of a call.
  Napi::Value axes() const { return axes_.Value(); }
  const double* sharedAxes() const { return axesData_; }
  // Numbers that JavaScript is done with: how many, then which. Taken at the next call, whatever it is.
  Napi::Value freed() const { return freed_.Value(); }
  void takeFreed() {
    if (freedData_[0] != 0) freeListed();
  }

  // Queues an op with the scratch that the device wants for it.
  template <class Op>
  void launch(Op&& op);
  // Copies `bytes` from host memory before it returns.
  void upload(void* to, const void* from, std::size_t bytes);
  // Resolves with `array` once `bytes` from `from` are in `host`, its memory. Errors are those of `op`.
  Napi::Promise download(Napi::Env env, const char* op, Napi::Object array, void* host, const void* from,
                         std::size_t bytes);
  // Resolves with `array`, whose memory `work` copies from or to.
  Napi::Promise copy(Napi::Env env, const char* op, napi_value array, std::function<void(Device&)> work);
  Napi::Promise synchronize(Napi::Env env);
  // Finishes what is queued, then closes; takes nothing more from now on. Called once.
  Napi::Promise dispose(Napi::Env env);

  // Drops queued work, joins the threads, gives all memory back. May be called twice.
  void close();

 private:
  struct Settlement;

  void refuseWhenEnded() const;
  void refuseWhenLost() const {
    if (closed() || ending_ || lost_) refuse();
  }
  [[noreturn]] void refuse() const;
  void freeListed();
  // Queues `work` and settles a promise with `value` (or undefined) when it is done. A promise whose environment ends first
  // is never settled: there is nobody to tell.
  Napi::Promise settle(Napi::Env env, const char* op, Napi::Value value, std::function<void()> work, bool closing);
  static void settleOnJavaScriptThread(Napi::Env env, Napi::Function, Session* self, Settlement* settlement);
  static void closeAtExit(void* self);

  const Napi::Env env_;
  std::unique_ptr<Device> device_;
  std::atomic<bool> lost_{false};
  bool ending_ = false;  // `dispose` was called; JavaScript thread
  std::atomic<std::size_t> staged_{0};
  std::size_t pending_ = 0;  // promises not settled; JavaScript thread
  using Notify = Napi::TypedThreadSafeFunction<Session, Settlement, settleOnJavaScriptThread>;
  Notify notify_;
  Napi::FunctionReference errorOf_;
  Napi::Reference<Napi::Float64Array> outputs_, axes_;
  Napi::Reference<Napi::Int32Array> freed_;
  double *outputsData_, *axesData_;
  std::int32_t* freedData_;
  Buffers buffers_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Queue> queue_;
};

template <class Op>
void Session::launch(Op&& op) {
  refuseWhenLost();
  Device* device = device_.get();
  std::optional<Pool::Handle> workspace;
  if (const std::size_t bytes = device->workspaceBytes(op); bytes > 0) workspace = pool_->allocate(bytes);
  queue_->push([this, device, op = std::forward<Op>(op), memory = workspace ? (*workspace)->memory : nullptr] {
    if (!lost_) device->run(op, memory);
  });
  // Free for the next op already: work runs in queue order.
  if (workspace) pool_->free(*workspace);
}

}  // namespace lazy_native
