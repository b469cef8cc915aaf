// An addon is one source file:
//
//   #include "lazy_native/addon.h"
//   LAZY_NATIVE_ADDON((lazy_native::DeviceFactory{&probeMyDevice, &createMyDevice}))
//
// compiled together with the layer (CMake: `lazy_native_add_addon(target sources...)` of packages/native/cmake). The
// compile definition LAZY_NATIVE_VERSION carries the package version, which the loader compares with its own.
#pragma once

#include <napi.h>

#include <exception>

#include "lazy_native/device.h"

namespace lazy_native {

// Fills `exports` with version, ops, probe() and create(options, errorOf).
Napi::Object initialise(Napi::Env env, Napi::Object exports, DeviceFactory factory);

// Leaves core's error for `error` as JavaScript's pending exception; `errorOf` is that of src/errors.ts. Does nothing while
// the environment ends: a C++ exception that got into the engine would abort the process, and nobody is left to be told.
void throwIntoJavaScript(Napi::Function errorOf, const char* op, std::exception_ptr error) noexcept;

}  // namespace lazy_native

#define LAZY_NATIVE_ADDON(factory) LAZY_NATIVE_ADDON_WITH(factory, [](Napi::Env, Napi::Object) {})

// `extend(env, exports)` adds exports of the backend's own.
#define LAZY_NATIVE_ADDON_WITH(factory, extend)                             \
  static Napi::Object lazyNativeInit(Napi::Env env, Napi::Object exports) { \
    lazy_native::initialise(env, exports, factory);                         \
    extend(env, exports);                                                   \
    return exports;                                                         \
  }                                                                         \
  NODE_API_MODULE(lazy_native, lazyNativeInit)
