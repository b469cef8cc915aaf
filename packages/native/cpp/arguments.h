// Positional arguments of a call from src/kernels.ts, taken one after the other. On Node-API itself: its C++ wrapper allocates
// for more than six arguments, and every op has more.
#pragma once

#include <napi.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "session.h"

namespace lazy_native {

inline DType dtypeOf(const std::string& name) {
  if (name == "f32") return DType::f32;
  if (name == "bf16") return DType::bf16;
  if (name == "f16") return DType::f16;
  if (name == "i32") return DType::i32;
  throw Unsupported("element type '" + name + "' is not supported; f32, bf16, f16 and i32 are known");
}

inline const char* nameOf(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::i32:
      return "i32";
  }
  return "";
}

class Arguments {
 public:
  static constexpr std::size_t most = 28;

  // `data` is what the function was made with.
  Arguments(napi_env env, napi_callback_info info, void** data) : env_(env) {
    std::size_t count = most;
    napi_get_cb_info(env, info, &count, values_.data(), nullptr, data);  // fills up with undefined
  }

  Napi::Value value() { return {env_, values_[next_++]}; }
  BufferId buffer() { return static_cast<BufferId>(number()); }
  Tensor tensor(const Session& session) { return session.tensor(buffer()); }
  // 0 stands for a tensor that is absent.
  Tensor optional(const Session& session) { return optional(session, buffer()); }
  // An Int32Array of buffers, 0 for none.
  std::vector<Tensor> tensors(const Session& session) {
    const auto ids = value().As<Napi::Int32Array>();
    std::vector<Tensor> out;
    out.reserve(ids.ElementLength());
    for (std::size_t i = 0; i < ids.ElementLength(); ++i) out.push_back(optional(session, ids.Data()[i]));
    return out;
  }
  double number() {
    double number = 0;
    if (napi_get_value_double(env_, values_[next_++], &number) != napi_ok)
      throw std::invalid_argument("expected a number");
    return number;
  }
  std::int64_t integer() { return static_cast<std::int64_t>(number()); }
  bool flag() {
    bool flag = false;
    if (napi_get_value_bool(env_, values_[next_++], &flag) != napi_ok)
      throw std::invalid_argument("expected a boolean");
    return flag;
  }
  DType dtype() { return dtypeOf(value().ToString().Utf8Value()); }

 private:
  static Tensor optional(const Session& session, BufferId id) { return id == 0 ? Tensor{} : session.tensor(id); }

  const napi_env env_;
  std::array<napi_value, most> values_;
  std::size_t next_ = 0;
};

}  // namespace lazy_native
