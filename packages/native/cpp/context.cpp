#include "context.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "lazy_native/addon.h"

namespace lazy_native {

namespace {

// What all functions of one object work with.
struct Context {
  std::shared_ptr<Session> session;
  std::vector<napi_value> arguments;  // of the call under way
  std::vector<NewBuffer> outputs;
};

// What one of them was made with.
struct Binding {
  std::shared_ptr<Context> context;
  const char* name;
  Method method;
  std::size_t arguments, choice;
};

// Most calls have no more arguments than this: Node-API fills the rest up with undefined, which costs as much as an argument.
constexpr std::size_t few = 6;

[[noreturn]] void refuseCount(std::size_t expected, std::size_t count) {
  throw std::invalid_argument("expected " + std::to_string(expected) + " arguments, got " + std::to_string(count));
}

// Every call comes in here. An error leaves as core's class for it.
napi_value call(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_value firstFew[few];
  const napi_value* values = firstFew;
  std::size_t count = few;
  napi_get_cb_info(env, info, &count, firstFew, nullptr, &data);
  const Binding& binding = *static_cast<Binding*>(data);
  Context& context = *binding.context;
  if (count > few) {
    values = context.arguments.data();
    std::size_t room = context.arguments.size();
    napi_get_cb_info(env, info, &room, context.arguments.data(), nullptr, nullptr);
  }
  Session& session = *context.session;
  try {
    if (count != binding.arguments) refuseCount(binding.arguments, count);
    session.takeFreed();
    Arguments arguments(env, values, binding.choice);
    return binding.method(env, session, arguments, context.outputs.data());
  } catch (...) {
    throwIntoJavaScript(session.errorOf(), binding.name, std::current_exception());
  }
  return nullptr;
}

void define(Napi::Object target, const std::string& name, const Binding& made) {
  const napi_env env = target.Env();
  auto binding = std::make_unique<Binding>(made);
  napi_value function = nullptr;
  napi_create_function(env, name.c_str(), name.size(), call, binding.get(), &function);
  const auto drop = [](napi_env, void* data, void*) { delete static_cast<Binding*>(data); };
  napi_add_finalizer(env, function, binding.release(), drop, nullptr, nullptr);
  target.Set(name, Napi::Value(env, function));
}

Napi::Array arrayOf(Napi::Env env, const std::vector<std::string>& texts) {
  Napi::Array array = Napi::Array::New(env);
  for (const std::string& text : texts) array.Set(array.Length(), text);
  return array;
}

}  // namespace

Napi::Array describeOps(Napi::Env env) {
  Napi::Array ops = Napi::Array::New(env);
  for (const OpDescription& op : allOps()) {
    Napi::Array fields = Napi::Array::New(env);
    for (const FieldDescription& field : op.signature.fields) {
      Napi::Object description = Napi::Object::New(env);
      description.Set("name", field.name);
      description.Set("kind", field.kind);
      description.Set("names", arrayOf(env, field.names));
      fields.Set(fields.Length(), description);
    }
    Napi::Object description = Napi::Object::New(env);
    description.Set("name", op.name);
    description.Set("fields", fields);
    description.Set("choices", arrayOf(env, op.signature.choices));
    description.Set("outputs", arrayOf(env, op.signature.outputs));
    ops.Set(ops.Length(), description);
  }
  return ops;
}

Napi::Object makeContext(Napi::Env env, std::unique_ptr<Device> device, std::size_t memoryLimit,
                         Napi::Function errorOf) {
  std::size_t arguments = 0, outputs = 0, axes = 0;
  for (const MethodDescription& method : storageMethods()) arguments = std::max(arguments, method.arguments);
  for (const OpDescription& op : allOps()) {
    arguments = std::max(arguments, op.signature.arguments);
    outputs = std::max(outputs, op.signature.outputs.size());
    axes = std::max(axes, op.signature.axes);
  }
  const auto namesOfAll = [](const std::vector<DType>& dtypes) {
    std::vector<std::string> names;
    for (const DType dtype : dtypes) names.emplace_back(namesOf(dtype)[static_cast<std::size_t>(dtype)]);
    return names;
  };

  Napi::Object object = Napi::Object::New(env);
  object.Set("device", device->describe());
  object.Set("dtypes", arrayOf(env, namesOfAll(device->dtypes())));
  object.Set("packedDtypes", arrayOf(env, namesOfAll(device->packedDtypes())));
  // One number more than outputs: how many bytes are saved.
  auto context = std::make_shared<Context>();
  context->session =
      std::make_shared<Session>(env, std::move(device), memoryLimit, errorOf, Room{outputs + 1, axes * axesRoom});
  context->arguments.resize(arguments);
  context->outputs.resize(outputs);
  object.Set("outputs", context->session->outputs());
  object.Set("axes", context->session->axes());
  object.Set("axesRoom", axesRoom);
  object.Set("freed", context->session->freed());
  for (const MethodDescription& storage : storageMethods())
    define(object, storage.name, {context, storage.name, storage.method, storage.arguments, 0});
  if (context->session->device().reports()) {
    for (const MethodDescription& report : reportMethods())
      define(object, report.name, {context, report.name, report.method, report.arguments, 0});
  }
  Napi::Object launch = Napi::Object::New(env);
  for (const OpDescription& op : allOps()) {
    if (!offers(context->session->device(), op)) continue;
    const Binding binding{context, op.name, op.method, op.signature.arguments, 0};
    if (op.signature.choices.empty()) {
      define(launch, op.name, binding);
      continue;
    }
    Napi::Object functions = Napi::Object::New(env);
    for (std::size_t choice = 0; choice < op.signature.choices.size(); ++choice)
      define(functions, op.signature.choices[choice], {context, op.name, op.method, op.signature.arguments, choice});
    launch.Set(op.name, functions);
  }
  object.Set("launch", launch);
  return object;
}

}  // namespace lazy_native
