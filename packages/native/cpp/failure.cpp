#include "failure.h"

#include <new>

#include "lazy_native/addon.h"

namespace lazy_native {

Failure describe(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const OutOfMemory& e) {
    return {"OUT_OF_MEMORY", e.what(), static_cast<double>(e.requestedBytes), ""};
  } catch (const DeviceLost& e) {
    return {"DEVICE_LOST", e.what(), 0, ""};
  } catch (const Unsupported& e) {
    return {"UNSUPPORTED", e.what(), 0, ""};
  } catch (const Unavailable& e) {
    return {"BACKEND_UNAVAILABLE", e.what(), 0, e.fix};
  } catch (const std::bad_alloc&) {
    return {"OUT_OF_MEMORY", "host memory could not be had", 0, ""};
  } catch (const std::exception& e) {
    return {"INTERNAL", e.what(), 0, ""};
  } catch (...) {
    return {"INTERNAL", "unknown C++ exception", 0, ""};
  }
}

Napi::Value toJavaScript(Napi::Function errorOf, const char* op, const Failure& failure) {
  const Napi::Env env = errorOf.Env();
  return errorOf.Call({Napi::String::New(env, op), Napi::String::New(env, failure.code),
                       Napi::String::New(env, failure.message), Napi::Number::New(env, failure.requestedBytes),
                       Napi::String::New(env, failure.fix)});
}

void throwIntoJavaScript(Napi::Function errorOf, const char* op, std::exception_ptr error) noexcept {
  const napi_env env = errorOf.Env();
  try {
    try {
      std::rethrow_exception(error);
    } catch (const Napi::Error& pending) {
      napi_throw(env, pending.Value());
    } catch (...) {
      napi_throw(env, toJavaScript(errorOf, op, describe(error)));
    }
  } catch (...) {
    napi_throw_error(env, nullptr, op);  // no memory for more; while the environment ends this does nothing either
  }
}

}  // namespace lazy_native
