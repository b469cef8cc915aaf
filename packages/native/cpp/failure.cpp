#include "failure.h"

#include <new>

#include "lazy_native/errors.h"

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

Napi::Error toJavaScript(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, failure.code));
  if (failure.code == "OUT_OF_MEMORY") error.Set("requestedBytes", Napi::Number::New(env, failure.requestedBytes));
  if (!failure.fix.empty()) error.Set("fix", Napi::String::New(env, failure.fix));
  return error;
}

}  // namespace lazy_native
