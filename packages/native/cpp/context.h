// The JavaScript object through which src/kernels.ts calls a session: the ops, and the functions of storage.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "fields.h"

namespace lazy_native {

// A function of the object. Takes what it was called with and leaves its outputs in `outputs`, which is empty before and after.
using Method = napi_value (*)(napi_env env, Session& session, Arguments& arguments, NewBuffer* outputs);

struct MethodDescription {
  const char* name;
  Method method;
  std::size_t arguments;
};

struct OpDescription {
  const char* name;
  Method method;
  Describe signature;
};

// The ops of lazy_native/ops.h, in its order (operations.cpp).
const std::vector<OpDescription>& allOps();
// Whether a device has it.
bool offers(const Device& device, const OpDescription& op);
// upload, read, memory, dispose, ... (storage.cpp).
const std::vector<MethodDescription>& storageMethods();
// Of a device that reports (storage.cpp).
const std::vector<MethodDescription>& reportMethods();

// For `exports.ops`: [{ name, fields: [{ name, kind, names }], choices, outputs }], NativeOp of src/addon.ts.
Napi::Array describeOps(Napi::Env env);
Napi::Object makeContext(Napi::Env env, std::unique_ptr<Device> device, std::size_t memoryLimit,
                         Napi::Function errorOf);

}  // namespace lazy_native
