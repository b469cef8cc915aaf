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

// Core's error for it, with `errorOf(op, code, message, requestedBytes, fix)` of src/errors.ts. Throws Napi::Error where
// JavaScript cannot be called: its environment is ending.
Napi::Value toJavaScript(Napi::Function errorOf, const char* op, const Failure& failure);

}  // namespace lazy_native
