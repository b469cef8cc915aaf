// Positional arguments of a call from src/kernels.ts, taken one after the other. On Node-API itself: its C++ wrapper allocates
// for more than six arguments, and every op has more.
#pragma once

#include <napi.h>

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "session.h"

namespace lazy_native {

class Arguments {
 public:
  Arguments(napi_env env, const napi_value* values, std::size_t choice) : env_(env), values_(values), choice_(choice) {}

  BufferId buffer() { return static_cast<BufferId>(whole(number(), std::numeric_limits<BufferId>::max())); }
  Tensor tensor(const Session& session) { return session.tensor(buffer()); }
  // 0 stands for a tensor that is absent.
  Tensor optional(const Session& session) { return optional(session, buffer()); }
  // An Int32Array of buffers, 0 for none.
  std::vector<Tensor> tensors(const Session& session) {
    const auto [ids, count] = entries<BufferId>(napi_int32_array);
    std::vector<Tensor> out;
    out.reserve(count);
    for (std::size_t i = 0; i < count; ++i) out.push_back(optional(session, ids[i]));
    return out;
  }
  // A Float64Array.
  std::vector<double> numbers() {
    const auto [numbers, count] = entries<double>(napi_float64_array);
    return {numbers, numbers + count};
  }
  double number() {
    double number = 0;
    if (napi_get_value_double(env_, values_[next_++], &number) != napi_ok)
      throw std::invalid_argument("expected a number");
    return number;
  }
  std::int64_t integer() { return whole(number(), largest); }
  static std::int64_t whole(double number, double most = largest) {
    if (!(number >= -most && number <= most)) throw std::invalid_argument("expected an integer");
    return static_cast<std::int64_t>(number);
  }
  // The memory of a typed array of one of these types, of 4 or 8 bytes each.
  template <class T>
  std::pair<T*, std::size_t> entries(napi_typedarray_type type) {
    return entries<T>(type, type);
  }
  template <class T>
  std::pair<T*, std::size_t> entries(napi_typedarray_type one, napi_typedarray_type other) {
    napi_typedarray_type type{};
    std::size_t count = 0;
    void* data = nullptr;
    if (napi_get_typedarray_info(env_, values_[next_++], &type, &count, &data, nullptr, nullptr) != napi_ok ||
        (type != one && type != other))
      throw std::invalid_argument("expected a typed array");
    return {static_cast<T*>(data), count};
  }
  bool flag() {
    bool flag = false;
    if (napi_get_value_bool(env_, values_[next_++], &flag) != napi_ok)
      throw std::invalid_argument("expected a boolean");
    return flag;
  }
  DType dtype() {
    static const std::size_t count = namesOf(DType{}).size();
    const double index = number();
    if (!(index >= 0 && index < static_cast<double>(count))) throw std::invalid_argument("no such element type");
    return static_cast<DType>(static_cast<int>(index));
  }
  // An argument as it came.
  napi_value peek(std::size_t place) const { return values_[place]; }
  // What the function was made for, in place of an argument.
  std::size_t choice() const { return choice_; }

 private:
  // Far beyond any memory, and whatever is added to it fits 64 bits.
  static constexpr double largest = 4611686018427387904.0;

  static Tensor optional(const Session& session, BufferId id) { return id == 0 ? Tensor{} : session.tensor(id); }

  const napi_env env_;
  const napi_value* const values_;
  const std::size_t choice_;
  std::size_t next_ = 0;
};

}  // namespace lazy_native
