// Memory between JavaScript and the device, and the end of the session.
#include "context.h"

namespace lazy_native {

namespace {

bool isNarrow(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }

// (data: Float32Array | Int32Array, dtype): the number of a new buffer. Packed weights come as words.
napi_value upload(napi_env env, Session& s, Arguments& a, NewBuffer*) {
  const auto [host, count] = a.entries<const float>(napi_float32_array, napi_int32_array);
  const std::size_t bytes = count * sizeof(float);
  const auto dtype = a.dtype();
  const std::int64_t size = isPackedType(dtype) ? elementsIn(dtype, bytes) : static_cast<std::int64_t>(count);
  // Of packed weights, whole blocks: what is copied must have its place.
  if (isPackedType(dtype) && bytesOf(dtype, size) != bytes) throw std::invalid_argument("expected whole blocks");
  auto out = s.create(size, dtype);
  if (isNarrow(dtype)) {  // host data is f32
    const auto wide = s.create(size, DType::f32);
    s.upload(wide.tensor().data, host, bytes);
    s.launch(Cast{wide.tensor(), out.tensor()});
  } else {
    s.upload(out.tensor().data, host, bytes);
  }
  napi_value number = nullptr;
  napi_create_int32(env, out.release(), &number);
  return number;
}

// (x): a promise of its entries, f32 for narrower types.
napi_value read(napi_env env, Session& s, Arguments& a, NewBuffer*) {
  Tensor x = a.tensor(s);
  NewBuffer wide;
  if (isNarrow(x.dtype)) {
    wide = s.create(x.size, DType::f32);
    s.launch(Cast{x, wide.tensor()});
    x = wide.tensor();
  }
  const Napi::ArrayBuffer memory = Napi::ArrayBuffer::New(env, x.bytes());
  const auto length = static_cast<std::size_t>(x.size);
  const Napi::Object array = x.dtype == DType::i32
                                 ? static_cast<Napi::Object>(Napi::Int32Array::New(env, length, memory, 0))
                                 : static_cast<Napi::Object>(Napi::Float32Array::New(env, length, memory, 0));
  return s.download(env, "read", array, Napi::ArrayBuffer(memory).Data(), x.data, x.bytes());
}

// f32 tensors, and an array that holds them one behind the other.
struct Stretch {
  std::vector<Tensor> tensors;
  float* memory = nullptr;
};

Stretch stretch(Session& s, Arguments& a) {
  Stretch stretch{a.tensors(s)};
  const auto [memory, length] = a.entries<float>(napi_float32_array);
  stretch.memory = memory;
  std::size_t count = 0;
  for (const Tensor& x : stretch.tensors) {
    if (!x || x.dtype != DType::f32) throw std::invalid_argument("expected tensors of f32");
    count += static_cast<std::size_t>(x.size);
  }
  if (count != length) throw std::invalid_argument("expected an array of their length");
  return stretch;
}

// (xs, target: Float32Array): a promise of `target`, filled.
napi_value readInto(napi_env env, Session& s, Arguments& a, NewBuffer*) {
  const napi_value target = a.peek(1);
  return s.copy(env, "readInto", target, [from = stretch(s, a)](Device& device) {
    float* to = from.memory;
    for (const Tensor& x : from.tensors) {
      device.download(to, x.data, x.bytes());
      to += x.size;
    }
  });
}

// (xs, source: Float32Array): a promise of `source`, when it has been copied.
napi_value writeFrom(napi_env env, Session& s, Arguments& a, NewBuffer*) {
  const napi_value source = a.peek(1);
  return s.copy(env, "writeFrom", source, [to = stretch(s, a)](Device& device) {
    const float* from = to.memory;
    for (const Tensor& x : to.tensors) {
      device.upload(x.data, from, x.bytes());
      from += x.size;
    }
  });
}

// What is listed as freed has been taken by now, as before every call.
napi_value collect(napi_env, Session&, Arguments&, NewBuffer*) { return nullptr; }

napi_value synchronize(napi_env env, Session& s, Arguments&, NewBuffer*) { return s.synchronize(env); }

napi_value dispose(napi_env env, Session& s, Arguments&, NewBuffer*) { return s.dispose(env); }

napi_value memory(napi_env env, Session& s, Arguments&, NewBuffer*) {
  const PoolStatistics statistics = s.closed() ? PoolStatistics{} : s.pool().statistics();
  Napi::Object out = Napi::Object::New(env);
  out.Set("inUse", static_cast<double>(statistics.inUse));
  out.Set("cached", static_cast<double>(statistics.cached));
  out.Set("peak", static_cast<double>(statistics.peak));
  out.Set("systemAllocations", static_cast<double>(statistics.systemAllocations));
  return out;
}

// {name: times} of the ways that were taken.
napi_value launches(napi_env env, Session& s, Arguments&, NewBuffer*) {
  Napi::Object out = Napi::Object::New(env);
  if (s.closed()) return out;
  for (const auto& [name, times] : s.device().launches()) out.Set(name, static_cast<double>(times));
  return out;
}

// An array of texts; nothing where there are none, which is nearly always.
napi_value takeWarnings(napi_env env, Session& s, Arguments&, NewBuffer*) {
  if (s.closed()) return nullptr;
  const std::vector<std::string> warnings = s.device().takeWarnings();
  if (warnings.empty()) return nullptr;
  Napi::Array out = Napi::Array::New(env);
  for (const std::string& warning : warnings) out.Set(out.Length(), warning);
  return out;
}

}  // namespace

const std::vector<MethodDescription>& reportMethods() {
  static const std::vector<MethodDescription> methods = {{"launches", launches, 0}, {"takeWarnings", takeWarnings, 0}};
  return methods;
}

const std::vector<MethodDescription>& storageMethods() {
  static const std::vector<MethodDescription> methods = {{"upload", upload, 2},     {"read", read, 1},
                                                         {"readInto", readInto, 2}, {"writeFrom", writeFrom, 2},
                                                         {"collect", collect, 0},   {"synchronize", synchronize, 0},
                                                         {"dispose", dispose, 0},   {"memory", memory, 0}};
  return methods;
}

}  // namespace lazy_native
