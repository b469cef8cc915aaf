// An op on the kernels of one instruction set, in f32 or bf16. Kernels that know bf16 get the op as it is; for the others bf16
// operands are widened to f32 in the workspace, and results rounded from there: the sums are f32's either way.
#pragma once

#include <cstddef>
#include <type_traits>
#include <vector>

#include "kernel_table.h"

namespace lazy_cpu {

template <class Op, class... Ops>
inline constexpr bool isOneOf = (std::is_same_v<Op, Ops> || ...);

// Whether a kernel reads and writes bf16 itself.
template <class Op>
inline constexpr bool knowsBrain =
    isOneOf<Op, ops::Matmul, ops::Fill, ops::Cast, ops::CopyRows, ops::Rearrange, ops::Scale, ops::Binary, ops::RmsNorm,
            ops::RmsNormGrad, ops::Rope, ops::Swiglu, ops::SwigluGrad, ops::CrossEntropy, ops::CrossEntropyGrad,
            ops::Embedding, ops::AdamW>;

// Visits the fields of an op (lazy_native/ops.h) and puts f32 tensors of the workspace in the place of bf16 ones.
class Widening {
 public:
  explicit Widening(void* memory) : memory_(static_cast<char*>(memory)) {}

  std::vector<ops::Cast> before, after;
  std::size_t bytes = 0;

  template <class T>
  void operator()(const char*, T&) {}
  void operator()(const char*, ops::Tensor& x) { operand(x); }
  void operator()(const char*, std::vector<ops::Tensor>& xs) {
    for (ops::Tensor& x : xs) operand(x);
  }
  void optional(const char*, ops::Tensor& x) { operand(x); }
  template <class T, class Compute>
  void derive(T&, const Compute&) {}
  void output(const char*, ops::Tensor& out, std::int64_t, ops::DType) {
    if (!narrow(out)) return;
    const ops::Tensor to = out;
    after.push_back({widen(out), to});
  }
  void outputFor(const ops::Tensor&, const char*, ops::Tensor&) {}  // f32
  void saved(const char*, void*&, const ops::AttentionInputs&, bool) {}

 private:
  void operand(ops::Tensor& x) {
    if (!narrow(x)) return;
    const ops::Tensor from = x;
    before.push_back({from, widen(x)});
  }
  // Of an absent tensor the size is 0; addresses are unknown while only sizes are asked for.
  static bool narrow(const ops::Tensor& x) { return x.size > 0 && x.dtype == ops::DType::bf16; }
  const ops::Tensor& widen(ops::Tensor& x) {
    x.dtype = ops::DType::f32;
    if (memory_ != nullptr) x.data = memory_ + bytes;
    bytes += (x.bytes() + 63) / 64 * 64;
    return x;
  }

  char* const memory_;
};

class Kernels {
 public:
  Kernels(const KernelTable& table, Machine machine) : table(table), machine(machine) {}

  const KernelTable& table;
  const Machine machine;

  // Bytes of workspace that `run` wants.
  template <class Op>
  std::size_t workspace(const Op& op) const {
    if constexpr (!knowsBrain<Op>) {
      if (!takesBrain(op)) {
        Op wide = op;
        const Widening widening = widened(wide, nullptr);
        return widening.bytes + own(wide);
      }
    }
    return own(op);
  }

#define LAZY_RUN(name, Op) \
  void run(const ops::Op& op, Runtime& runtime, void* workspace) const { run(op, runtime, workspace, table.name); }
  LAZY_OPS(LAZY_RUN)
#undef LAZY_RUN

 private:
  // Whether a kernel that does not always know bf16 takes this op as it is.
  template <class Op>
  bool takesBrain(const Op&) const {
    return false;
  }
  // A few rows read a cache of bf16 as it is; for more, AMX pays (AVX512-BF16 does not: docs/kernels/cpu.md).
  bool takesBrain(const ops::Attention& op) const {
    return hasTiles() || table.decodes(op.in.sizes, op.saved != nullptr);
  }
  bool takesBrain(const ops::AttentionGrad&) const { return hasTiles(); }
  bool hasTiles() const { return machine.unit == BrainUnit::tiles || machine.unit == BrainUnit::emulated; }

  template <class Op>
  void run(const Op& op, Runtime& runtime, void* workspace,
           void (*kernel)(const Op&, Runtime&, void* workspace)) const {
    if constexpr (!knowsBrain<Op>) {
      if (!takesBrain(op)) return runWidened(op, runtime, workspace, kernel);
    }
    kernel(op, runtime, workspace);
  }
  template <class Op>
  void runWidened(const Op& op, Runtime& runtime, void* workspace,
                  void (*kernel)(const Op&, Runtime&, void* workspace)) const {
    Op wide = op;
    const Widening widening = widened(wide, workspace);
    if (widening.bytes == 0) return kernel(op, runtime, workspace);
    for (const ops::Cast& cast : widening.before) table.cast(cast, runtime, nullptr);
    kernel(wide, runtime, static_cast<char*>(workspace) + widening.bytes);
    for (const ops::Cast& cast : widening.after) table.cast(cast, runtime, nullptr);
  }

  template <class Op>
  static Widening widened(Op& op, void* memory) {
    Widening widening(memory);
    op.fields(widening);
    return widening;
  }
  static Widening widened(ops::AttentionGrad& op, void* memory) {
    const void* const saved = op.saved;  // which `fields` takes from a call
    Widening widening(memory);
    op.fields(widening);
    op.saved = saved;
    return widening;
  }

  static std::size_t floats(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); }
  static std::size_t doubles(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(double); }

  // What the kernels themselves want.
  template <class Op>
  std::size_t own(const Op&) const {
    return 0;
  }
  std::size_t own(const ops::SumSquares& op) const {
    std::int64_t chunks = 0;
    for (const ops::Tensor& x : op.xs) chunks += sumChunks(x.size);
    return doubles(chunks);
  }
  std::size_t own(const ops::Reduce& op) const {
    const std::int64_t chunks = reduceChunks(op);
    return chunks > 1 ? static_cast<std::size_t>(op.outer * chunks * op.inner) * sizeof(Partial) : 0;
  }
  std::size_t own(const ops::Matmul& op) const { return table.matmulWorkspace(op, machine); }
  std::size_t own(const ops::RmsNormGrad& op) const { return floats(rowChunks(op.rows) * op.width); }
  std::size_t own(const ops::Attention& op) const {
    if (table.decodes(op.in.sizes, op.saved != nullptr))
      return floats(static_cast<std::int64_t>(table.decodeFloats(op.in)));
    return table.attentionWorkspace(op.in, machine);
  }
  std::size_t own(const ops::AttentionGrad& op) const { return table.attentionGradWorkspace(op.in, machine); }
  std::size_t own(const ops::AttentionWeights& op) const { return table.attentionWorkspace(op.in, machine); }
  std::size_t own(const ops::ElasticSoftmaxGrad& op) const {
    return op.dtau ? doubles(op.batch * op.heads * op.queryLength) : 0;
  }
  std::size_t own(const ops::CrossEntropy& op) const { return doubles(rowChunks(op.rows)); }
};

}  // namespace lazy_cpu
