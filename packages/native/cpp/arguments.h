// Positional arguments of a call from src/kernels.ts, taken one after the other.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "session.h"

namespace lazy_native {

inline Buffer& bufferOf(const Napi::Value& value, const Session& session) {
  if (!value.IsExternal()) throw std::invalid_argument("expected a buffer of this backend");
  Buffer& buffer = *value.As<Napi::External<Buffer>>().Data();
  if (buffer.session() != &session) throw std::invalid_argument("buffer of another backend");
  return buffer;
}

inline Tensor tensorOf(const Napi::Value& value, const Session& session) {
  const Tensor tensor = bufferOf(value, session).tensor();
  if (tensor.data == nullptr) throw std::invalid_argument("buffer was freed");
  return tensor;
}

// The External owns the buffer from here on.
inline Napi::Value wrap(Napi::Env env, std::unique_ptr<Buffer> buffer) {
  return Napi::External<Buffer>::New(env, buffer.release(), [](Napi::Env, Buffer* b) { delete b; });
}

inline DType dtypeOf(const std::string& name) {
  if (name == "f32") return DType::f32;
  if (name == "bf16") return DType::bf16;
  if (name == "f16") return DType::f16;
  if (name == "i32") return DType::i32;
  throw Unsupported("element type '" + name + "' is not supported; f32, bf16, f16 and i32 are known");
}

inline const char* nameOf(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::i32: return "i32";
  }
  return "";
}

class Arguments {
 public:
  Arguments(const Napi::CallbackInfo& info, const Session& session) : info_(info), session_(session) {}

  Napi::Value value() { return info_[next_++]; }
  Buffer& buffer() { return bufferOf(value(), session_); }
  Tensor tensor() { return tensorOf(value(), session_); }
  Tensor optional() {
    const Napi::Value v = value();
    return v.IsNull() || v.IsUndefined() ? Tensor{} : tensorOf(v, session_);
  }
  double number() { return value().ToNumber().DoubleValue(); }
  std::int64_t integer() { return static_cast<std::int64_t>(number()); }
  bool flag() { return value().ToBoolean().Value(); }
  DType dtype() { return dtypeOf(value().ToString().Utf8Value()); }

 private:
  const Napi::CallbackInfo& info_;
  const Session& session_;
  std::size_t next_ = 0;
};

}  // namespace lazy_native
