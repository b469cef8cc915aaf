// What went wrong on any thread, in a form that JavaScript can be told later.
#pragma once

#include <napi.h>

#include <exception>
#include <optional>
#include <string>

namespace lazy_native {

struct Failure {
  std::string code;  // core's LazyAttentionError.code, or 'INTERNAL'
  std::string message;
  double requestedBytes = 0;
  std::string fix;
};

Failure describe(std::exception_ptr error);

// An Error with `code` and, where they apply, `requestedBytes` and `fix`; src/errors.ts makes core's classes of them.
Napi::Error toJavaScript(Napi::Env env, const Failure& failure);

}  // namespace lazy_native
