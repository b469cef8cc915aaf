// As much of Node-API as the layer calls, without JavaScript: values are plain C++ objects that live until they are dropped.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

enum class Kind { undefined, boolean, number, text, object, array, function, buffer, typedArray, promise };

struct napi_value__ {
  Kind kind = Kind::undefined;
  bool boolean = false;
  double number = 0;
  std::string text;
  std::map<std::string, napi_value> members;
  std::vector<napi_value> elements;
  napi_callback callback = nullptr;
  void* data = nullptr;
  std::vector<std::uint8_t> bytes;
  // A view of `buffer`.
  napi_value buffer = nullptr;
  napi_typedarray_type type = napi_int8_array;
  std::size_t count = 0, offset = 0;

  ~napi_value__();
  // Where a typed array's entries begin.
  void* entries() const { return buffer->bytes.data() + offset; }
};

namespace fake {

napi_env env();
napi_value make(Kind kind);
napi_value number(double value);
napi_value boolean(bool value);
// An array of its own memory; `count` entries of `size` bytes.
napi_value typedArray(napi_typedarray_type type, std::size_t count, std::size_t size);
// Calls a function that the layer made; false when it threw, which is forgotten.
bool call(napi_value function, const std::vector<napi_value>& arguments, napi_value* result = nullptr);
// Runs what other threads have asked for with thread-safe functions.
void runPosted();
// How many values there are; `forget` drops those made since.
std::size_t count();
void forget(std::size_t since);
// Ends the environment: cleanup hooks, posted work, finalizers; drops all values.
void end();

}  // namespace fake
