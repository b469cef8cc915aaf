// libFuzzer: calls from JavaScript as bytes. Each call takes a function of the context and arguments of any kind, most of them of
// the kind that its fields say; the layer must take it or throw. See scripts/fuzz-arguments.mjs.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "context.h"
#include "fake_napi.h"
#include "touching_device.h"

namespace {

constexpr double strange[] = {0,
                              -1,
                              0.5,
                              1e9,
                              2147483647.0,
                              2147483648.0,
                              -2147483649.0,
                              4294967297.0,
                              1e15,
                              1e300,
                              -1e300,
                              std::numeric_limits<double>::quiet_NaN(),
                              std::numeric_limits<double>::infinity(),
                              9007199254740991.0,
                              18446744073709551616.0};

// A function of the context, and what it says its arguments are ('' for those of storage).
struct Function {
  napi_value value;
  std::vector<std::string> kinds;
};

// One for many inputs: making it takes as long as a thousand calls.
struct Context {
  Napi::Object object;
  std::vector<Function> functions;
  std::size_t values;
  bool disposed = false;

  Context() {
    const Napi::Env env(fake::env());
    object = lazy_native::makeContext(env, std::make_unique<lazy_native::TouchingDevice>(), std::size_t{64} << 20,
                                      Napi::Function(env, fake::make(Kind::function)));
    functions = {{member("upload"), {"data", "dtype"}},
                 {member("read"), {"tensor"}},
                 {member("readInto"), {"stretch", "floats"}},
                 {member("writeFrom"), {"stretch", "floats"}},
                 {member("collect"), {}},
                 {member("synchronize"), {}},
                 {member("memory"), {}}};
    for (const lazy_native::OpDescription& op : lazy_native::allOps()) list(op);
    values = fake::count();
  }

  napi_value member(const std::string& name) const { return static_cast<napi_value>(object)->members.at(name); }

 private:
  void list(const lazy_native::OpDescription& op) {
    const napi_value launch = member("launch")->members.at(op.name);
    std::vector<std::string> kinds;
    for (const lazy_native::FieldDescription& field : op.signature.fields)
      if (std::strcmp(field.kind, "axes") != 0) kinds.emplace_back(field.kind);
    if (op.signature.choices.empty()) functions.push_back({launch, kinds});
    for (const std::string& choice : op.signature.choices) functions.push_back({launch->members.at(choice), kinds});
  }
};

class Calls {
 public:
  Calls(FuzzedDataProvider& data, Context& context) : data_(data), context_(context) {
    for (int i = 0; i < 4; ++i) upload();
  }
  ~Calls() {
    for (const double id : buffers_) forget(id);
  }

  void make() {
    if (data_.ConsumeIntegralInRange(0, 255) == 255) dispose();
    const std::vector<Function>& functions = context_.functions;
    const Function& function = functions[data_.ConsumeIntegralInRange<std::size_t>(0, functions.size() - 1)];
    std::vector<napi_value> arguments;
    for (const std::string& kind : function.kinds)
      arguments.push_back(data_.ConsumeIntegralInRange(0, 9) == 0 ? anything() : argument(kind));
    if (data_.ConsumeIntegralInRange(0, 19) == 0)
      arguments.resize(data_.ConsumeIntegralInRange<std::size_t>(0, 40), fake::number(1));
    fillAxes();
    napi_value result = nullptr;
    if (fake::call(function.value, arguments, &result)) keep(result);
    if (data_.ConsumeIntegralInRange(0, 7) == 0) forget();
  }

 private:
  napi_value member(const std::string& name) const { return context_.member(name); }

  void dispose() {
    fake::call(member("dispose"), {});
    context_.disposed = true;
  }

  void upload() {
    napi_value result = nullptr;
    const napi_value entries = fake::typedArray(napi_float32_array, 1 + buffers_.size() * 5, 4);
    if (fake::call(member("upload"), {entries, fake::number(0)}, &result)) keep(result);
  }

  napi_value argument(const std::string& kind) {
    if (kind == "tensor") return fake::number(buffer());
    if (kind == "optional") return fake::number(data_.ConsumeBool() ? 0 : buffer());
    if (kind == "flag") return fake::boolean(data_.ConsumeBool());
    if (kind == "dtype") return fake::number(data_.ConsumeIntegralInRange(0, 7));
    if (kind == "tensors" || kind == "each") return buffers();
    if (kind == "stretch") return stretch();
    if (kind == "floats") return fake::typedArray(napi_float32_array, length_, 4);
    if (kind == "numbers") return filled(napi_float64_array, 8);
    if (kind == "data") return filled(data_.ConsumeBool() ? napi_float32_array : napi_int32_array, 4);
    if (data_.ConsumeIntegralInRange(0, 3) == 0) return fake::number(strangeNumber());
    return fake::number(data_.ConsumeIntegralInRange(0, 16));
  }

  napi_value anything() {
    switch (data_.ConsumeIntegralInRange(0, 7)) {
      case 0:
        return fake::make(Kind::undefined);
      case 1:
        return fake::boolean(true);
      case 2:
        return fake::make(Kind::text);
      case 3:
        return fake::make(Kind::object);
      case 4:
        return fake::make(Kind::buffer);
      case 5:
        return filled(napi_uint8_array, 1);
      case 6:
        return filled(napi_int32_array, 4);
      default:
        return fake::number(strangeNumber());
    }
  }

  napi_value buffers() {
    const napi_value ids = filled(napi_int32_array, 4);
    auto* entries = static_cast<std::int32_t*>(ids->entries());
    for (std::size_t i = 0; i < ids->count; ++i) entries[i] = shortOf(buffer());
    return ids;
  }

  // Tensors of which `length_` is often the length of all together: those that `upload` made have 1, 6, 11, 16.
  napi_value stretch() {
    const std::size_t count = data_.ConsumeIntegralInRange<std::size_t>(0, 4);
    const napi_value ids = fake::typedArray(napi_int32_array, count, 4);
    auto* entries = static_cast<std::int32_t*>(ids->entries());
    length_ = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t one = data_.ConsumeIntegralInRange<std::size_t>(0, 3);
      entries[i] = shortOf(one < buffers_.size() ? buffers_[one] : buffer());
      length_ += 1 + one * 5;
    }
    if (data_.ConsumeIntegralInRange(0, 7) == 0) length_ = data_.ConsumeIntegralInRange<std::size_t>(0, 70);
    return ids;
  }

  napi_value filled(napi_typedarray_type type, std::size_t size) {
    const std::size_t count = data_.ConsumeIntegralInRange<std::size_t>(0, 70);
    const napi_value made = fake::typedArray(type, count, size);
    if (count > 0) data_.ConsumeData(made->entries(), std::min<std::size_t>(count * size, 16));
    return made;
  }

  // Mostly one that is there, or was.
  double buffer() {
    if (buffers_.empty() || data_.ConsumeIntegralInRange(0, 15) == 0) return strangeNumber();
    return buffers_[data_.ConsumeIntegralInRange<std::size_t>(0, buffers_.size() - 1)];
  }

  static std::int32_t shortOf(double number) {
    return number >= -1 && number <= 2147483647.0 ? static_cast<std::int32_t>(number) : -1;
  }

  double strangeNumber() {
    if (data_.ConsumeBool()) return data_.ConsumeFloatingPoint<double>();
    return strange[data_.ConsumeIntegralInRange<std::size_t>(0, std::size(strange) - 1)];
  }

  void fillAxes() {
    const napi_value shared = member("axes");
    auto* axes = static_cast<double*>(shared->entries());
    for (std::size_t i = 0; i < shared->count; ++i)
      axes[i] = data_.ConsumeIntegralInRange(0, 9) == 0 ? strangeNumber() : data_.ConsumeIntegralInRange(0, 8);
  }

  void keep(napi_value result) {
    if (result != nullptr && result->kind == Kind::number) buffers_.push_back(result->number);
    // Where an op has several; of one that has none, zeros.
    const napi_value outputs = member("outputs");
    auto* ids = static_cast<double*>(outputs->entries());
    for (std::size_t i = 0; i < outputs->count; ++i)
      if (ids[i] != 0) buffers_.push_back(std::exchange(ids[i], 0));
  }

  // As src/buffers.ts tells of what JavaScript is done with; a number may come twice, or be none.
  void forget() {
    auto* freed = static_cast<std::int32_t*>(member("freed")->entries());
    freed[0] = data_.ConsumeIntegralInRange(0, 9) == 0 ? data_.ConsumeIntegral<std::int32_t>() : 1;
    freed[1] = shortOf(buffer());
  }
  void forget(double id) {
    auto* freed = static_cast<std::int32_t*>(member("freed")->entries());
    freed[0] = 1;
    freed[1] = shortOf(id);
    fake::call(member("collect"), {});
  }

  FuzzedDataProvider& data_;
  Context& context_;
  std::vector<double> buffers_;
  std::size_t length_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  static std::unique_ptr<Context> context;
  if (context == nullptr) context = std::make_unique<Context>();
  FuzzedDataProvider data(bytes, size);
  {
    Calls calls(data, *context);
    for (int i = 0; i < 32 && data.remaining_bytes() > 0; ++i) calls.make();
    fake::runPosted();
  }
  fake::forget(context->values);
  if (context->disposed) {
    context.reset();
    fake::end();
  }
  return 0;
}
