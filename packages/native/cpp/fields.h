// The visitors of the ops' fields (lazy_native/ops.h): one tells JavaScript their order, one reads a call in that order.
#pragma once

#include <napi.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "arguments.h"
#include "session.h"

namespace lazy_native {

// What JavaScript is told of an argument; kinds are those of NativeField in src/addon.ts.
struct FieldDescription {
  std::string name;
  const char* kind;
  std::vector<std::string> names;  // of the element types, or of the tensors of one entry of `each`
};

// Of each Axes in the shared memory: how many, then which.
inline constexpr std::size_t axesRoom = 1 + Axes::most;

// Visits an op without arguments.
class Describe {
 public:
  std::vector<FieldDescription> fields;
  std::vector<std::string> choices;  // names of its one choice: JavaScript has a function for each
  std::vector<std::string> outputs;
  std::size_t arguments = 0;  // of a call: fields but Axes
  std::size_t axes = 0;       // which lie in the memory that the session shares

  template <class T>
  void operator()(const char* name, T& value) {
    if constexpr (std::is_same_v<T, DType>) {
      const auto names = namesOf(value);
      add(name, "dtype", {names.begin(), names.end()});
    } else if constexpr (std::is_enum_v<T>) {
      const auto names = namesOf(value);
      choices.assign(names.begin(), names.end());
    } else if constexpr (std::is_same_v<T, Axes>) {
      fields.push_back({name, "axes", {}});
      ++axes;
    } else {
      add(name, kindOf(value), {});
    }
  }
  void optional(const char* name, Tensor&) { add(name, "optional", {}); }
  template <class T, class Compute>
  void derive(T&, const Compute&) {}
  void output(const char* name, Tensor&, std::int64_t, DType) { outputs.emplace_back(name); }
  void outputFor(const Tensor&, const char* name, Tensor&) { outputs.emplace_back(name); }
  bool outputOrGiven(const char* name, Tensor&, std::int64_t, DType) {
    add(name, "optional", {});
    outputs.emplace_back(name);
    return false;
  }
  void saved(const char* name, void*&, const AttentionInputs&, bool) { outputs.emplace_back(name); }
  template <class T, class Visit>
  void each(const char* name, std::vector<T>&, T one, const Visit& visit) {
    Describe entry;
    visit(one, entry);
    std::vector<std::string> names;
    for (const FieldDescription& field : entry.fields) names.push_back(field.name);
    add(name, "each", std::move(names));
  }

 private:
  void add(const char* name, const char* kind, std::vector<std::string> names) {
    fields.push_back({name, kind, std::move(names)});
    ++arguments;
  }

  static const char* kindOf(const Tensor&) { return "tensor"; }
  static const char* kindOf(const std::vector<Tensor>&) { return "tensors"; }
  static const char* kindOf(const std::vector<double>&) { return "numbers"; }
  static const char* kindOf(const double&) { return "number"; }
  static const char* kindOf(const std::int64_t&) { return "number"; }
  static const char* kindOf(const bool&) { return "flag"; }
};

// Fills an op from a call's arguments and makes its outputs.
class Read {
 public:
  // `outputs` has room for what the op has, all empty.
  Read(Session& session, Arguments& arguments, NewBuffer* outputs)
      : session_(session), arguments_(arguments), axes_(session.sharedAxes()), outputs_(outputs) {}
  ~Read() {
    if (!handedOver_) giveBack();
  }
  Read(const Read&) = delete;
  Read& operator=(const Read&) = delete;

  void operator()(const char*, Tensor& x) { x = arguments_.tensor(session_); }
  void operator()(const char*, std::vector<Tensor>& xs) { xs = arguments_.tensors(session_); }
  void operator()(const char*, std::vector<double>& numbers) { numbers = arguments_.numbers(); }
  void operator()(const char*, double& number) { number = arguments_.number(); }
  void operator()(const char*, std::int64_t& integer) { integer = arguments_.integer(); }
  void operator()(const char*, bool& flag) { flag = arguments_.flag(); }
  void operator()(const char*, Axes& axes) {
    axes.count = Arguments::whole(axes_[0], Axes::most);
    if (axes.count < 1) throw std::invalid_argument("an op got no axes; expected 1 or more");
    for (std::int64_t axis = 0; axis < axes.count; ++axis)
      axes.at[static_cast<std::size_t>(axis)] = Arguments::whole(axes_[axis + 1]);
    axes_ += axesRoom;
  }
  void operator()(const char*, DType& dtype) { dtype = arguments_.dtype(); }
  template <class Choice, std::enable_if_t<std::is_enum_v<Choice>, int> = 0>
  void operator()(const char*, Choice& choice) {
    choice = static_cast<Choice>(arguments_.choice());
  }
  void optional(const char*, Tensor& x) { x = arguments_.optional(session_); }
  template <class T, class Compute>
  void derive(T& field, const Compute& compute) {
    field = compute();
  }
  void output(const char*, Tensor& out, std::int64_t size, DType dtype) {
    const BufferId id = session_.createId(size, dtype);
    outputs_[count_++].hold(session_, id);
    out = session_.tensor(id);
  }
  void outputFor(const Tensor& input, const char* name, Tensor& out) {
    if (input) return output(name, out, input.size, DType::f32);
    ++count_;
  }
  bool outputOrGiven(const char* name, Tensor& out, std::int64_t size, DType dtype) {
    out = arguments_.optional(session_);
    if (!out) {
      output(name, out, size, dtype);
      return false;
    }
    ++count_;
    return true;
  }
  void saved(const char*, void*& memory, const AttentionInputs& in, bool save) {
    if (save) {
      savedBytes_ = session_.device().savedBytes(in);
      outputs_[count_] = session_.createBytes(savedBytes_);
      memory = outputs_[count_].tensor().data;
    }
    ++count_;
  }
  template <class T, class Visit>
  void each(const char*, std::vector<T>& entries, const T& one, const Visit& visit) {
    TakeInTurn tensors{arguments_.tensors(session_)};
    while (tensors.left()) {
      entries.push_back(one);
      visit(entries.back(), tensors);
    }
  }

  // Hands the outputs over: nothing, the number of one, or several in the shared memory, and behind them what is `saved`.
  napi_value results(napi_env env) {
    handedOver_ = true;
    napi_value number = nullptr;
    if (count_ == 1) {
      napi_create_int32(env, outputs_[0].release(), &number);
    } else if (count_ > 1) {
      double* shared = session_.sharedOutputs();
      for (std::size_t i = 0; i < count_; ++i) shared[i] = outputs_[i].release();
      shared[count_] = static_cast<double>(savedBytes_);
    }
    return number;
  }

 private:
  void giveBack() {
    for (std::size_t i = 0; i < count_; ++i) outputs_[i] = NewBuffer();
  }

  // An entry of `each` reads its tensors from one list.
  struct TakeInTurn {
    const std::vector<Tensor> tensors;
    std::size_t next = 0;

    bool left() const { return next < tensors.size(); }
    void operator()(const char*, Tensor& x) { x = tensors.at(next++); }
    void optional(const char*, Tensor& x) { x = tensors.at(next++); }
  };

  Session& session_;
  Arguments& arguments_;
  const double* axes_;
  NewBuffer* const outputs_;
  std::size_t count_ = 0, savedBytes_ = 0;
  bool handedOver_ = false;
};

}  // namespace lazy_native
