#include "fake_napi.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>

struct napi_env__ {};
struct napi_ref__ {
  napi_value value;
};
struct napi_deferred__ {};
struct napi_callback_info__ {
  const std::vector<napi_value>& arguments;
  void* data;
};
struct napi_handle_scope__ {};
struct napi_escapable_handle_scope__ {};
struct napi_threadsafe_function__ {
  void* context;
  napi_threadsafe_function_call_js call;
};

namespace {

struct Finalizer {
  napi_finalize call;
  void *data, *hint;
};
struct Posted {
  napi_threadsafe_function function;
  void* data;
};

napi_env__ environment;
napi_deferred__ promised;  // of all promises: nobody waits for them
std::vector<std::unique_ptr<napi_value__>> values;
std::vector<Finalizer> finalizers;
std::vector<std::pair<napi_cleanup_hook, void*>> hooks;
std::vector<std::unique_ptr<napi_threadsafe_function__>> functions;
napi_value exception = nullptr;
std::mutex mutex;  // of `posted`
std::vector<Posted> posted;

napi_status give(napi_value* result, napi_value value) {
  *result = value;
  return napi_ok;
}

std::size_t sizeOf(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return 1;
    case napi_int16_array:
    case napi_uint16_array:
      return 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array:
      return 4;
    default:
      return 8;
  }
}

}  // namespace

napi_value__::~napi_value__() = default;

namespace fake {

napi_env env() { return &environment; }

napi_value make(Kind kind) {
  values.push_back(std::make_unique<napi_value__>());
  values.back()->kind = kind;
  return values.back().get();
}

napi_value number(double value) {
  const napi_value made = make(Kind::number);
  made->number = value;
  return made;
}

napi_value boolean(bool value) {
  const napi_value made = make(Kind::boolean);
  made->boolean = value;
  return made;
}

napi_value typedArray(napi_typedarray_type type, std::size_t count, std::size_t size) {
  const napi_value made = make(Kind::typedArray);
  made->buffer = make(Kind::buffer);
  made->buffer->bytes.resize(count * size);
  made->type = type;
  made->count = count;
  return made;
}

bool call(napi_value function, const std::vector<napi_value>& arguments, napi_value* result) {
  napi_callback_info__ info{arguments, function->data};
  const napi_value returned = function->callback(env(), &info);
  if (result != nullptr) *result = returned;
  const bool threw = exception != nullptr;
  exception = nullptr;
  return !threw;
}

void runPosted() {
  std::vector<Posted> now;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    now.swap(posted);
  }
  for (const Posted& one : now) one.function->call(env(), nullptr, one.function->context, one.data);
  exception = nullptr;
}

std::size_t count() { return values.size(); }

void forget(std::size_t since) { values.resize(since); }

void end() {
  while (!hooks.empty()) {
    const auto [hook, data] = hooks.back();
    hooks.pop_back();
    hook(data);
  }
  runPosted();
  for (const Finalizer& one : finalizers) one.call(env(), one.data, one.hint);
  finalizers.clear();
  runPosted();
  functions.clear();
  values.clear();
}

}  // namespace fake

extern "C" {

napi_status napi_get_undefined(napi_env, napi_value* result) { return give(result, fake::make(Kind::undefined)); }
napi_status napi_get_boolean(napi_env, bool value, napi_value* result) { return give(result, fake::boolean(value)); }
napi_status napi_create_double(napi_env, double value, napi_value* result) { return give(result, fake::number(value)); }
napi_status napi_create_int32(napi_env, std::int32_t value, napi_value* result) {
  return give(result, fake::number(value));
}
napi_status napi_create_object(napi_env, napi_value* result) { return give(result, fake::make(Kind::object)); }
napi_status napi_create_array(napi_env, napi_value* result) { return give(result, fake::make(Kind::array)); }
napi_status napi_create_string_utf8(napi_env, const char* text, std::size_t length, napi_value* result) {
  *result = fake::make(Kind::text);
  (*result)->text = length == NAPI_AUTO_LENGTH ? std::string(text) : std::string(text, length);
  return napi_ok;
}
napi_status napi_create_error(napi_env, napi_value, napi_value, napi_value* result) {
  return give(result, fake::make(Kind::object));
}
napi_status napi_create_type_error(napi_env, napi_value, napi_value, napi_value* result) {
  return give(result, fake::make(Kind::object));
}
napi_status napi_create_arraybuffer(napi_env, std::size_t length, void** data, napi_value* result) {
  *result = fake::make(Kind::buffer);
  (*result)->bytes.resize(length);
  if (data != nullptr) *data = (*result)->bytes.data();
  return napi_ok;
}
napi_status napi_create_typedarray(napi_env, napi_typedarray_type type, std::size_t count, napi_value buffer,
                                   std::size_t offset, napi_value* result) {
  if (offset + count * sizeOf(type) > buffer->bytes.size()) return napi_invalid_arg;
  *result = fake::make(Kind::typedArray);
  (*result)->buffer = buffer;
  (*result)->type = type;
  (*result)->count = count;
  (*result)->offset = offset;
  return napi_ok;
}
napi_status napi_create_function(napi_env, const char*, std::size_t, napi_callback callback, void* data,
                                 napi_value* result) {
  *result = fake::make(Kind::function);
  (*result)->callback = callback;
  (*result)->data = data;
  return napi_ok;
}
napi_status napi_create_promise(napi_env, napi_deferred* deferred, napi_value* promise) {
  *deferred = &promised;
  return give(promise, fake::make(Kind::promise));
}
napi_status napi_resolve_deferred(napi_env, napi_deferred, napi_value) { return napi_ok; }
napi_status napi_reject_deferred(napi_env, napi_deferred, napi_value) { return napi_ok; }

napi_status napi_typeof(napi_env, napi_value value, napi_valuetype* result) {
  switch (value->kind) {
    case Kind::undefined:
      *result = napi_undefined;
      break;
    case Kind::boolean:
      *result = napi_boolean;
      break;
    case Kind::number:
      *result = napi_number;
      break;
    case Kind::text:
      *result = napi_string;
      break;
    case Kind::function:
      *result = napi_function;
      break;
    default:
      *result = napi_object;
  }
  return napi_ok;
}
napi_status napi_get_value_double(napi_env, napi_value value, double* result) {
  if (value->kind != Kind::number) return napi_number_expected;
  *result = value->number;
  return napi_ok;
}
napi_status napi_get_value_bool(napi_env, napi_value value, bool* result) {
  if (value->kind != Kind::boolean) return napi_boolean_expected;
  *result = value->boolean;
  return napi_ok;
}
napi_status napi_get_value_string_utf8(napi_env, napi_value value, char* text, std::size_t room, std::size_t* length) {
  if (value->kind != Kind::text) return napi_string_expected;
  if (text == nullptr) {
    *length = value->text.size();
    return napi_ok;
  }
  const std::size_t copied = value->text.copy(text, room - 1);
  text[copied] = 0;
  if (length != nullptr) *length = copied;
  return napi_ok;
}
napi_status napi_coerce_to_string(napi_env env, napi_value, napi_value* result) {
  return napi_create_string_utf8(env, "", 0, result);
}
napi_status napi_get_arraybuffer_info(napi_env, napi_value value, void** data, std::size_t* length) {
  if (value->kind != Kind::buffer) return napi_invalid_arg;
  if (data != nullptr) *data = value->bytes.data();
  if (length != nullptr) *length = value->bytes.size();
  return napi_ok;
}
napi_status napi_get_typedarray_info(napi_env, napi_value value, napi_typedarray_type* type, std::size_t* count,
                                     void** data, napi_value* buffer, std::size_t* offset) {
  if (value->kind != Kind::typedArray) return napi_invalid_arg;
  if (type != nullptr) *type = value->type;
  if (count != nullptr) *count = value->count;
  if (data != nullptr) *data = value->entries();
  if (buffer != nullptr) *buffer = value->buffer;
  if (offset != nullptr) *offset = value->offset;
  return napi_ok;
}

napi_status napi_set_named_property(napi_env, napi_value object, const char* name, napi_value value) {
  object->members[name] = value;
  return napi_ok;
}
napi_status napi_get_named_property(napi_env env, napi_value object, const char* name, napi_value* result) {
  const auto found = object->members.find(name);
  return found == object->members.end() ? napi_get_undefined(env, result) : give(result, found->second);
}
napi_status napi_get_property(napi_env env, napi_value object, napi_value key, napi_value* result) {
  return napi_get_named_property(env, object, key->text.c_str(), result);
}
napi_status napi_has_property(napi_env, napi_value object, napi_value key, bool* result) {
  *result = object->members.count(key->text) > 0;
  return napi_ok;
}
napi_status napi_get_property_names(napi_env, napi_value object, napi_value* result) {
  *result = fake::make(Kind::array);
  for (const auto& [name, value] : object->members) {
    (*result)->elements.push_back(fake::make(Kind::text));
    (*result)->elements.back()->text = name;
  }
  return napi_ok;
}
napi_status napi_define_properties(napi_env, napi_value, std::size_t, const napi_property_descriptor*) {
  return napi_ok;
}
napi_status napi_set_element(napi_env, napi_value array, std::uint32_t index, napi_value value) {
  if (array->elements.size() <= index) array->elements.resize(index + 1);
  array->elements[index] = value;
  return napi_ok;
}
napi_status napi_get_element(napi_env, napi_value array, std::uint32_t index, napi_value* result) {
  return give(result, array->elements.at(index));
}
napi_status napi_get_array_length(napi_env, napi_value array, std::uint32_t* result) {
  *result = static_cast<std::uint32_t>(array->elements.size());
  return napi_ok;
}

napi_status napi_get_cb_info(napi_env env, napi_callback_info info, std::size_t* count, napi_value* arguments,
                             napi_value*, void** data) {
  const std::vector<napi_value>& given = info->arguments;
  if (data != nullptr) *data = info->data;
  if (count == nullptr) return napi_ok;
  for (std::size_t i = 0; i < *count; ++i) {
    if (i < given.size())
      arguments[i] = given[i];
    else
      napi_get_undefined(env, &arguments[i]);
  }
  *count = given.size();
  return napi_ok;
}
napi_status napi_call_function(napi_env, napi_value, napi_value, std::size_t, const napi_value*, napi_value* result) {
  return give(result, fake::make(Kind::object));  // an error
}

napi_status napi_create_reference(napi_env, napi_value value, std::uint32_t, napi_ref* result) {
  *result = new napi_ref__{value};
  return napi_ok;
}
napi_status napi_delete_reference(napi_env, napi_ref reference) {
  delete reference;
  return napi_ok;
}
napi_status napi_get_reference_value(napi_env, napi_ref reference, napi_value* result) {
  return give(result, reference->value);
}
napi_status napi_add_finalizer(napi_env, napi_value, void* data, napi_finalize call, void* hint, napi_ref*) {
  finalizers.push_back({call, data, hint});
  return napi_ok;
}
napi_status napi_open_handle_scope(napi_env, napi_handle_scope*) { return napi_ok; }
napi_status napi_close_handle_scope(napi_env, napi_handle_scope) { return napi_ok; }
napi_status napi_open_escapable_handle_scope(napi_env, napi_escapable_handle_scope*) { return napi_ok; }
napi_status napi_close_escapable_handle_scope(napi_env, napi_escapable_handle_scope) { return napi_ok; }
napi_status napi_escape_handle(napi_env, napi_escapable_handle_scope, napi_value value, napi_value* result) {
  return give(result, value);
}

napi_status napi_throw(napi_env, napi_value error) {
  exception = error;
  return napi_ok;
}
napi_status napi_throw_error(napi_env, const char*, const char*) {
  exception = fake::make(Kind::object);
  return napi_ok;
}
napi_status napi_is_exception_pending(napi_env, bool* result) {
  *result = exception != nullptr;
  return napi_ok;
}
napi_status napi_get_and_clear_last_exception(napi_env env, napi_value* result) {
  if (exception == nullptr) return napi_get_undefined(env, result);
  give(result, exception);
  exception = nullptr;
  return napi_ok;
}
napi_status napi_get_last_error_info(napi_env, const napi_extended_error_info** result) {
  static const napi_extended_error_info info{"a call of Node-API failed", nullptr, 0, napi_generic_failure};
  *result = &info;
  return napi_ok;
}
void napi_fatal_error(const char* location, std::size_t, const char* message, std::size_t) {
  std::fprintf(stderr, "napi_fatal_error: %s: %s\n", location, message);
  std::abort();
}

napi_status napi_add_env_cleanup_hook(node_api_basic_env, napi_cleanup_hook hook, void* data) {
  hooks.emplace_back(hook, data);
  return napi_ok;
}
napi_status napi_remove_env_cleanup_hook(node_api_basic_env, napi_cleanup_hook hook, void* data) {
  for (auto one = hooks.begin(); one != hooks.end(); ++one) {
    if (*one != std::make_pair(hook, data)) continue;
    hooks.erase(one);
    break;
  }
  return napi_ok;
}
napi_status napi_create_threadsafe_function(napi_env, napi_value, napi_value, napi_value, std::size_t, std::size_t,
                                            void*, napi_finalize, void* context, napi_threadsafe_function_call_js call,
                                            napi_threadsafe_function* result) {
  functions.push_back(std::make_unique<napi_threadsafe_function__>(napi_threadsafe_function__{context, call}));
  *result = functions.back().get();
  return napi_ok;
}
napi_status napi_call_threadsafe_function(napi_threadsafe_function function, void* data,
                                          napi_threadsafe_function_call_mode) {
  const std::lock_guard<std::mutex> lock(mutex);
  posted.push_back({function, data});
  return napi_ok;
}
napi_status napi_ref_threadsafe_function(node_api_basic_env, napi_threadsafe_function) { return napi_ok; }
napi_status napi_unref_threadsafe_function(node_api_basic_env, napi_threadsafe_function) { return napi_ok; }
napi_status napi_release_threadsafe_function(napi_threadsafe_function, napi_threadsafe_function_release_mode) {
  return napi_ok;
}

}  // extern "C"
