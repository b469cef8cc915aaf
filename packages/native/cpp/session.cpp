#include "session.h"

#include <cstring>

namespace lazy_native {

namespace {
// Uploads copy into staging memory at once; this much may wait in the queue before a caller has to.
constexpr std::size_t stagingBound = std::size_t{256} << 20;
constexpr std::int32_t freedRoom = 512;
}  // namespace

struct Session::Settlement {
  napi_deferred deferred = nullptr;
  Napi::Reference<Napi::Value> value;
  std::shared_ptr<Session> session;  // alive until its promises are settled
  const char* op = "";
  bool closing = false;
  std::optional<Failure> failure;
};

NewBuffer::~NewBuffer() {
  if (id_ != 0) session_->free(id_);
}

Tensor NewBuffer::tensor() const { return session_->tensor(id_); }

Session::Session(Napi::Env env, std::unique_ptr<Device> device, std::size_t memoryLimit, Napi::Function errorOf,
                 Room room)
    : env_(env), device_(std::move(device)), errorOf_(Napi::Persistent(errorOf)) {
  auto outputs = Napi::Float64Array::New(env, room.outputs);
  outputsData_ = outputs.Data();
  outputs_.Reset(outputs, 1);
  auto axes = Napi::Float64Array::New(env, room.axes);
  axesData_ = axes.Data();
  axes_.Reset(axes, 1);
  auto freed = Napi::Int32Array::New(env, freedRoom);
  freedData_ = freed.Data();
  freed_.Reset(freed, 1);
  // What may fail comes first: nothing that follows has to be taken back.
  queue_ = std::make_unique<Queue>([d = device_.get()](Tasks& tasks) { return d->serve(tasks); });
  pool_ = std::make_unique<Pool>(*device_, memoryLimit,
                                 Pool::Fence{[this](std::function<void()> then) {
                                               queue_->push([d = device_.get(), then = std::move(then)] {
                                                 d->finish();
                                                 then();
                                               });
                                             },
                                             [this] {
                                               queue_->push([d = device_.get()] { d->finish(); });
                                               queue_->drain();
                                             }});
  queue_->push([d = device_.get()] { d->attach(); });
  notify_ = Notify::New(env, "lazy-attention", 0, 1, this);
  notify_.Unref(env);  // an idle backend does not keep the process alive
  // Registered after the thread-safe function, so that at exit the queue ends before the function goes.
  napi_add_env_cleanup_hook(env, closeAtExit, this);
}

Session::~Session() {
  if (closed()) return;
  napi_remove_env_cleanup_hook(env_, closeAtExit, this);
  close();
  notify_.Release();
}

void Session::close() {
  if (closed()) return;
  const std::shared_ptr<Session> self = weak_from_this().lock();  // a dropped task may hold the last other one
  queue_->stop();
  pool_.reset();
  queue_.reset();
  device_.reset();
}

void Session::closeAtExit(void* self) { static_cast<Session*>(self)->close(); }

NewBuffer Session::createBytes(std::size_t bytes) {
  refuseWhenLost();
  return {*this, buffers_.add(*pool_, bytes, static_cast<std::int64_t>(bytes / 4), DType::f32)};
}

void Session::free(BufferId id) {
  if (!closed()) buffers_.remove(*pool_, id);
}

void Session::freeListed() {
  const std::int32_t count = std::exchange(freedData_[0], 0);
  if (count < 0 || count >= freedRoom) throw std::invalid_argument("no such list of buffers");
  for (std::int32_t i = 1; i <= count; ++i) free(freedData_[i]);
}

void Session::refuseWhenEnded() const {
  if (closed() || ending_) refuse();
}

void Session::refuse() const {
  if (closed() || ending_) throw DeviceLost("the backend is disposed");
  throw DeviceLost("the device stopped working; its tensors are gone. Create the backend anew");
}

void Session::upload(void* to, const void* from, std::size_t bytes) {
  refuseWhenLost();
  if (bytes == 0) return;
  if (staged_ > stagingBound) queue_->drain();
  Device* device = device_.get();
  staged_ += bytes;
  const std::shared_ptr<void> staging(device->allocateHost(bytes), [this, device, bytes](void* memory) {
    device->releaseHost(memory, bytes);
    staged_ -= bytes;
  });
  std::memcpy(staging.get(), from, bytes);
  queue_->push([this, device, to, staging, bytes] {
    if (!lost_) device->upload(to, staging.get(), bytes);
  });
}

Napi::Promise Session::download(Napi::Env env, const char* op, Napi::Object array, void* host, const void* from,
                                std::size_t bytes) {
  refuseWhenLost();
  return settle(env, op, array, [d = device_.get(), host, from, bytes] { d->download(host, from, bytes); }, false);
}

Napi::Promise Session::copy(Napi::Env env, const char* op, napi_value array, std::function<void(Device&)> work) {
  refuseWhenLost();
  return settle(env, op, Napi::Value(env, array), [d = device_.get(), work = std::move(work)] { work(*d); }, false);
}

Napi::Promise Session::synchronize(Napi::Env env) {
  refuseWhenLost();
  return settle(env, "synchronize", env.Undefined(), [d = device_.get()] { d->finish(); }, false);
}

Napi::Promise Session::dispose(Napi::Env env) {
  refuseWhenEnded();
  ending_ = true;
  return settle(env, "dispose", env.Undefined(), [d = device_.get()] { d->finish(); }, true);
}

Napi::Promise Session::settle(Napi::Env env, const char* op, Napi::Value value, std::function<void()> work,
                              bool closing) {
  auto settlement = std::make_unique<Settlement>();
  napi_value promise = nullptr;
  if (napi_create_promise(env, &settlement->deferred, &promise) != napi_ok) throw Napi::Error::New(env);
  // A reference needs an object; undefined is left out.
  if (value.IsObject()) settlement->value = Napi::Reference<Napi::Value>::New(value, 1);
  settlement->session = shared_from_this();
  settlement->op = op;
  settlement->closing = closing;
  if (pending_++ == 0) notify_.Ref(env);
  // Telling JavaScript may take this thread's core away from it: JavaScript wakes up there. So that comes afterwards, when
  // another thread may run what JavaScript queues next.
  queue_->push([this, owned = std::move(settlement), work = std::move(work)]() mutable -> Task::Afterwards {
    Settlement* const settlement = owned.release();
    std::exception_ptr error = queue_->takeError();
    try {
      if (!lost_) work();
    } catch (...) {
      if (!error) error = std::current_exception();
    }
    if (error) {
      settlement->failure = describe(error);
      if (settlement->failure->code == "DEVICE_LOST") lost_ = true;
    } else if (lost_) {
      settlement->failure = Failure{"DEVICE_LOST", "the device stopped working", 0, ""};
    }
    return [this, settlement] { notify_.BlockingCall(settlement); };
  });
  return {env, promise};
}

void Session::settleOnJavaScriptThread(Napi::Env env, Napi::Function, Session*, Settlement* settlement) {
  const std::unique_ptr<Settlement> owner(settlement);
  if (static_cast<napi_env>(env) == nullptr) {  // the environment is going away: nobody waits any more
    settlement->value.SuppressDestruct();
    return;
  }
  const Napi::HandleScope scope(env);
  Session& self = *settlement->session;
  if (--self.pending_ == 0) self.notify_.Unref(env);
  if (settlement->closing) {
    napi_remove_env_cleanup_hook(env, closeAtExit, &self);
    self.close();
    self.notify_.Release();
  }
  // Each of these fails in a worker that is being terminated, which is all right.
  try {
    if (settlement->failure) {
      napi_reject_deferred(env, settlement->deferred,
                           toJavaScript(self.errorOf(), settlement->op, *settlement->failure));
    } else {
      napi_resolve_deferred(env, settlement->deferred,
                            settlement->value.IsEmpty() ? env.Undefined() : settlement->value.Value());
    }
  } catch (const Napi::Error&) {
  }
}

}  // namespace lazy_native
