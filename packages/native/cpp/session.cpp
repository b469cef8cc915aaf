#include "session.h"

#include <cstring>

namespace lazy_native {

namespace {
// Uploads copy into staging memory at once; this much may wait in the queue before a caller has to.
constexpr std::size_t stagingBound = std::size_t{256} << 20;
}  // namespace

struct Session::Settlement {
  Napi::Promise::Deferred deferred;
  Napi::Reference<Napi::Value> value;
  std::shared_ptr<Session> session;  // alive until its promises are settled
  bool closing;
  std::optional<Failure> failure;
};

Buffer::Buffer(std::shared_ptr<Session> session, std::size_t bytes, std::int64_t size, DType dtype)
    : session_(std::move(session)), size_(size), dtype_(dtype), memory_(session_->pool().allocate(bytes)) {}

void Buffer::free() {
  if (memory_ != nullptr && !session_->closed()) session_->pool().free(memory_);
  memory_ = nullptr;
}

Session::Session(Napi::Env env, std::unique_ptr<Device> device, std::size_t memoryLimit)
    : env_(env), device_(std::move(device)) {
  notify_ = Notify::New(env, "lazy-attention", 0, 1, this);
  notify_.Unref(env);  // an idle backend does not keep the process alive
  // Registered after the thread-safe function, so that at exit the queue ends before the function goes.
  napi_add_env_cleanup_hook(env, closeAtExit, this);
  queue_ = std::make_unique<Queue>([d = device_.get()] { d->attach(); });
  pool_ = std::make_unique<Pool>(
      *device_, memoryLimit,
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
}

Session::~Session() {
  if (closed()) return;
  napi_remove_env_cleanup_hook(env_, closeAtExit, this);
  close();
  notify_.Release();
}

void Session::close() {
  if (closed()) return;
  queue_->stop();
  pool_.reset();
  queue_.reset();
  device_.reset();
}

void Session::closeAtExit(void* self) { static_cast<Session*>(self)->close(); }

std::unique_ptr<Buffer> Session::create(std::int64_t size, DType dtype) {
  refuseWhenLost();
  return std::make_unique<Buffer>(shared_from_this(), static_cast<std::size_t>(size) * bytesPerElement(dtype), size,
                                  dtype);
}

std::unique_ptr<Buffer> Session::createBytes(std::size_t bytes) {
  refuseWhenLost();
  return std::make_unique<Buffer>(shared_from_this(), bytes, static_cast<std::int64_t>(bytes / 4), DType::f32);
}

void Session::refuseWhenLost() const {
  if (closed()) throw DeviceLost("the backend is disposed");
  if (lost_) throw DeviceLost("the device stopped working; its tensors are gone. Create the backend anew");
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

Napi::Promise Session::download(Napi::Env env, Napi::Object array, void* host, const void* from, std::size_t bytes) {
  refuseWhenLost();
  return settle(env, array, [d = device_.get(), host, from, bytes] { d->download(host, from, bytes); }, false);
}

Napi::Promise Session::synchronize(Napi::Env env) {
  refuseWhenLost();
  return settle(env, env.Undefined(), [d = device_.get()] { d->finish(); }, false);
}

Napi::Promise Session::dispose(Napi::Env env) {
  if (closed()) {
    auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Resolve(env.Undefined());
    return deferred.Promise();
  }
  return settle(env, env.Undefined(), [d = device_.get()] { d->finish(); }, true);
}

Napi::Promise Session::settle(Napi::Env env, Napi::Value value, std::function<void()> work, bool closing) {
  auto* settlement = new Settlement{Napi::Promise::Deferred::New(env), {}, shared_from_this(), closing, std::nullopt};
  // A reference needs an object; undefined is left out.
  if (value.IsObject()) settlement->value = Napi::Reference<Napi::Value>::New(value, 1);
  const Napi::Promise promise = settlement->deferred.Promise();
  if (pending_++ == 0) notify_.Ref(env);
  queue_->push([this, settlement, work = std::move(work)] {
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
    notify_.BlockingCall(settlement);
  });
  return promise;
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
  if (settlement->failure) {
    settlement->deferred.Reject(toJavaScript(env, *settlement->failure).Value());
  } else {
    settlement->deferred.Resolve(settlement->value.IsEmpty() ? env.Undefined() : settlement->value.Value());
  }
}

}  // namespace lazy_native
