// A device that computes nothing: it touches every byte of every tensor of an op, so that AddressSanitizer sees one that is not
// as large as it says.
#pragma once

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "lazy_native/device.h"

namespace lazy_native {

class Touch {
 public:
  template <class T>
  void operator()(const char*, T&) {}
  void operator()(const char*, Tensor& x) { read(x); }
  void operator()(const char*, std::vector<Tensor>& xs) {
    for (const Tensor& x : xs) read(x);
  }
  void optional(const char*, Tensor& x) { read(x); }
  template <class T, class Compute>
  void derive(T&, const Compute&) {}
  void output(const char*, Tensor& out, std::int64_t, DType) { write(out); }
  void outputFor(const Tensor&, const char*, Tensor& out) { write(out); }
  bool outputOrGiven(const char*, Tensor& out, std::int64_t, DType) {
    write(out);
    return false;
  }
  void saved(const char*, void*& memory, const AttentionInputs&, bool) {
    if (memory != nullptr) std::memset(memory, 1, 1);
  }
  template <class T, class Visit>
  void each(const char*, std::vector<T>& entries, T, const Visit& visit) {
    for (T& entry : entries) visit(entry, *this);
  }

 private:
  static void read(const Tensor& x) {
    const auto* bytes = static_cast<const volatile unsigned char*>(x.data);
    for (std::size_t i = 0; bytes != nullptr && i < x.bytes(); ++i) static_cast<void>(bytes[i]);
  }
  static void write(const Tensor& x) {
    if (x) std::memset(x.data, 1, x.bytes());
  }
};

// Runs a task as it is pushed: an input behaves the same way each time.
class AtOnce final : public Server {
 public:
  explicit AtOnce(Tasks& tasks) : tasks_(tasks) {}
  void wake() noexcept override { tasks_.run(); }

 private:
  Tasks& tasks_;
};

class TouchingDevice final : public Device {
 public:
  std::string describe() const override { return "touches memory"; }
  std::vector<DType> dtypes() const override { return {DType::f32, DType::bf16, DType::f16, DType::i32}; }
  std::vector<DType> packedDtypes() const override {
    return {DType::w4, DType::w8, DType::w4k, DType::w8k, DType::w16};
  }

  // Exactly as much as asked for, but a tensor of nothing has an address too.
  void* allocate(std::size_t bytes) override {
    void* memory = bytes > most ? nullptr : std::calloc(bytes + (bytes == 0), 1);
    if (memory == nullptr) throw OutOfMemory("no", bytes);
    return memory;
  }
  void release(void* memory, std::size_t) noexcept override { std::free(memory); }
  std::size_t freeBytes() const override { return most; }
  std::size_t savedBytes(const AttentionInputs&) const override { return 16; }
  bool offers(FusedOp) const override { return true; }
  std::unique_ptr<Server> serve(Tasks& tasks) override { return std::make_unique<AtOnce>(tasks); }

  void upload(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }

#define LAZY_RUN(name, Op) \
  void run(const Op& op, void*) override { touch(op); }
  LAZY_OPS(LAZY_RUN)
  LAZY_FUSED_OPS(LAZY_RUN)
#undef LAZY_RUN

 private:
  static constexpr std::size_t most = std::size_t{64} << 20;

  template <class Op>
  static void touch(Op op) {
    Touch visitor;
    op.fields(visitor);
  }
};

}  // namespace lazy_native
