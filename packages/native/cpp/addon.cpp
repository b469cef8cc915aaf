#include "lazy_native/addon.h"

#include <limits>

#include "context.h"

#ifndef LAZY_NATIVE_VERSION
#error "LAZY_NATIVE_VERSION is the version of the backend's package; cmake/LazyNative.cmake defines it"
#endif

namespace lazy_native {

namespace {

Options optionsOf(const Napi::Object& object) {
  Options options;
  const Napi::Array names = object.GetPropertyNames();
  for (std::uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).ToString();
    const Napi::Value value = object.Get(name);
    if (value.IsUndefined()) continue;
    if (value.IsBoolean()) {
      options[name] = value.As<Napi::Boolean>().Value();
    } else if (value.IsNumber()) {
      options[name] = value.As<Napi::Number>().DoubleValue();
    } else {
      options[name] = value.ToString().Utf8Value();
    }
  }
  return options;
}

}  // namespace

Napi::Object initialise(Napi::Env env, Napi::Object exports, DeviceFactory factory) {
  exports.Set("version", LAZY_NATIVE_VERSION);
  exports.Set("ops", describeOps(env));
  exports.Set("probe", Napi::Function::New(env, [factory](const Napi::CallbackInfo& info) -> Napi::Value {
                const Probe probe = factory.probe();
                Napi::Object out = Napi::Object::New(info.Env());
                out.Set("available", probe.available);
                out.Set("device", probe.device);
                out.Set("reason", probe.reason);
                if (!probe.fix.empty()) out.Set("fix", probe.fix);
                return out;
              }));
  exports.Set("create", Napi::Function::New(env, [factory](const Napi::CallbackInfo& info) -> Napi::Value {
                const auto errorOf = info[1].As<Napi::Function>();
                try {
                  Options options = optionsOf(info[0].As<Napi::Object>());
                  std::size_t limit = std::numeric_limits<std::size_t>::max();
                  if (const auto found = options.find("memoryLimit"); found != options.end()) {
                    limit = static_cast<std::size_t>(std::get<double>(found->second));
                    options.erase(found);
                  }
                  return makeContext(info.Env(), factory.create(options), limit, errorOf);
                } catch (...) {
                  throwIntoJavaScript(errorOf, "create", std::current_exception());
                  return {};
                }
              }));
  return exports;
}

}  // namespace lazy_native
