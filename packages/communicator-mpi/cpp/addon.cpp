// What JavaScript sees: start(path) once, then collectives as promises. JavaScript runs one at a time, in order.
#include <napi.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "collective.h"
#include "library.h"

namespace {

std::unique_ptr<lazy_mpi::Library> mpi;

// A collective on a thread of the pool, so that JavaScript goes on meanwhile. `kept` is what the memory belongs to.
class Work final : public Napi::AsyncWorker {
 public:
  Work(Napi::Env env, std::function<void()> run) : AsyncWorker(env), deferred_(env), run_(std::move(run)) {}
  Napi::Promise start(Napi::Value kept) {
    kept_ = Napi::Persistent(Napi::Object::New(Env()));
    kept_.Set("value", kept);
    Queue();
    return deferred_.Promise();
  }

 protected:
  void Execute() override { run_(); }
  void OnOK() override { deferred_.Resolve(Env().Undefined()); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference kept_;
  std::function<void()> run_;
};

Napi::Value queue(Napi::Env env, Napi::Value kept, std::function<void()> run) {
  if (!mpi) throw Napi::Error::New(env, "MPI has not been started");
  return (new Work(env, std::move(run)))->start(kept);
}

Napi::Value start(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  try {
    if (!mpi) mpi = lazy_mpi::load(info[0].As<Napi::String>().Utf8Value());
    Napi::Object result = Napi::Object::New(env);
    result.Set("version", mpi->version());
    result.Set("rank", mpi->rank());
    result.Set("size", mpi->size());
    return result;
  } catch (const std::exception& error) {
    throw Napi::Error::New(env, error.what());
  }
}

Napi::Value allReduce(const Napi::CallbackInfo& info) {
  const Napi::TypedArray array = info[0].As<Napi::TypedArray>();
  if (array.TypedArrayType() == napi_float64_array) {
    const Napi::Float64Array values = array.As<Napi::Float64Array>();
    return queue(info.Env(), array, [data = const_cast<double*>(values.Data()), count = array.ElementLength()] {
      lazy_mpi::allReduce(*mpi, data, count);
    });
  }
  if (array.TypedArrayType() != napi_float32_array) {
    throw Napi::TypeError::New(info.Env(), "allReduce: expected a Float32Array or a Float64Array");
  }
  const Napi::Float32Array values = array.As<Napi::Float32Array>();
  return queue(info.Env(), array, [data = const_cast<float*>(values.Data()), count = array.ElementLength()] {
    lazy_mpi::allReduce(*mpi, data, count);
  });
}

Napi::Value broadcast(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array bytes = info[0].As<Napi::Uint8Array>();
  const int root = info[1].As<Napi::Number>().Int32Value();
  return queue(info.Env(), bytes, [data = const_cast<unsigned char*>(bytes.Data()), count = bytes.ByteLength(), root] {
    lazy_mpi::broadcast(*mpi, data, count, root);
  });
}

Napi::Value barrier(const Napi::CallbackInfo& info) {
  return queue(info.Env(), info.Env().Undefined(), [] { mpi->barrier(); });
}

Napi::Value finalize(const Napi::CallbackInfo& info) {
  return queue(info.Env(), info.Env().Undefined(), [] { mpi->finalize(); });
}

void abort(const Napi::CallbackInfo& info) {
  if (mpi) mpi->abort(info[0].As<Napi::Number>().Int32Value());
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("version", LAZY_MPI_VERSION);
  exports.Set("start", Napi::Function::New<start>(env));
  exports.Set("allReduce", Napi::Function::New<allReduce>(env));
  exports.Set("broadcast", Napi::Function::New<broadcast>(env));
  exports.Set("barrier", Napi::Function::New<barrier>(env));
  exports.Set("finalize", Napi::Function::New<finalize>(env));
  exports.Set("abort", Napi::Function::New<abort>(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(lazy_mpi, init)
