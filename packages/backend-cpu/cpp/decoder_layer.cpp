#include "decoder_layer.h"

#include <algorithm>
#include <cmath>

#include "lazy_native/pieces.h"

namespace lazy_cpu {

namespace {

// Intermediate results, one behind the other, and the ops on them.
class Layer {
 public:
  // `memory` may be nullptr where only sizes are asked for.
  Layer(const ops::DecoderLayer& op, void* memory)
      : op_(op), rows_(op.batch * op.length), pieces_(memory, ops::cacheLine) {
    const std::int64_t query = rows_ * op.heads * op.headDim, keys = rows_ * op.kvHeads * op.headDim;
    normed = take(rows_ * op.width);
    q = take(query);
    rotated = take(query);
    k = take(keys);
    rotatedKeys = take(keys);
    v = take(keys);
    attended = take(query);
    gate = take(rows_ * op.inner);
    up = take(rows_ * op.inner);
    activated = take(rows_ * op.inner);
    branch = take(rows_ * op.width);
    scratch = pieces_.rest();
  }

  ops::Tensor normed, q, rotated, k, rotatedKeys, v, attended, gate, up, activated, branch;
  void* scratch;  // of the ops, from here on

  std::size_t bytes() const { return pieces_.bytes(); }

  ops::RmsNorm norm(const ops::Tensor& weight) const { return {op_.x, weight, normed, rows_, op_.width, op_.epsilon}; }
  ops::Matmul linear(const ops::Tensor& x, const ops::Tensor& weight, const ops::Tensor& out, bool accumulate) const {
    return {x, weight, out, 1, rows_, out.size / rows_, x.size / rows_, false, true, accumulate};
  }
  ops::Rope rope(const ops::Tensor& x, const ops::Tensor& out, std::int64_t heads) const {
    return {x, out, op_.batch, op_.length, heads, op_.headDim, op_.position, op_.ropeBase, false};
  }
  ops::CopyRows append(const ops::Tensor& rows, const ops::Tensor& cache) const {
    return {rows, cache, op_.batch, op_.kvHeads * op_.headDim, op_.length, op_.length, 0, op_.capacity, op_.position};
  }
  ops::Attention attention() const {
    ops::Attention attention{};
    const double scale = 1 / std::sqrt(static_cast<double>(op_.headDim));
    attention.in = {op_,  // what attention learned
                    {op_.batch, op_.length, op_.position + op_.length, op_.capacity, op_.heads, op_.kvHeads,
                     op_.headDim, op_.window},
                    scale,
                    op_.ropeBase == 0 ? q : rotated,
                    op_.keys,
                    op_.values,
                    op_.starts};
    attention.out = attended;
    return attention;
  }

 private:
  ops::Tensor take(std::int64_t size) { return pieces_.take(size, op_.x.dtype); }

  const ops::DecoderLayer& op_;
  const std::int64_t rows_;
  ops::Pieces pieces_;
};

}  // namespace

namespace {

// x += input times weight. In bf16 the product is rounded before it is added, as by the ops that the layer is short for.
void addLinear(const Layer& x, const ops::Tensor& input, const ops::Tensor& weight, const ops::Tensor& to,
               const Kernels& kernels, Runtime& runtime) {
  if (to.dtype == ops::DType::f32) return kernels.run(x.linear(input, weight, to, true), runtime, x.scratch);
  kernels.run(x.linear(input, weight, x.branch, false), runtime, x.scratch);
  kernels.run(ops::Binary{to, x.branch, ops::BinaryFunction::add, to}, runtime, x.scratch);
}

}  // namespace

std::size_t decoderLayerWorkspace(const ops::DecoderLayer& op, const Kernels& kernels) {
  const Layer x(op, nullptr);
  std::size_t scratch = 0;
  const auto wants = [&](const auto& one) { scratch = std::max(scratch, kernels.workspace(one)); };
  wants(x.norm(op.attentionNorm));
  wants(x.rope(x.q, x.rotated, op.heads));
  wants(x.attention());
  wants(ops::Swiglu{x.gate, x.up, x.activated});
  wants(ops::Binary{op.x, x.branch, ops::BinaryFunction::add, op.x});
  // Each by itself: some matrices may be packed and others not.
  for (const ops::Matmul& product : {x.linear(x.normed, op.q, x.q, false), x.linear(x.normed, op.k, x.k, false),
                                     x.linear(x.normed, op.v, x.v, false), x.linear(x.attended, op.o, op.x, true),
                                     x.linear(x.normed, op.gate, x.gate, false), x.linear(x.normed, op.up, x.up, false),
                                     x.linear(x.activated, op.down, op.x, true)})
    wants(product);
  return x.bytes() + scratch;
}

void decoderLayer(const ops::DecoderLayer& op, const Kernels& kernels, Runtime& runtime, void* workspace) {
  const Layer x(op, workspace);
  kernels.run(x.norm(op.attentionNorm), runtime, x.scratch);
  const ops::Matmul projections[] = {x.linear(x.normed, op.q, x.q, false), x.linear(x.normed, op.k, x.k, false),
                                     x.linear(x.normed, op.v, x.v, false)};
  kernels.table.matmuls(projections, 3, runtime, x.scratch);
  if (op.ropeBase != 0) {
    kernels.run(x.rope(x.q, x.rotated, op.heads), runtime, x.scratch);
    kernels.run(x.rope(x.k, x.rotatedKeys, op.kvHeads), runtime, x.scratch);
  }
  kernels.run(x.append(op.ropeBase == 0 ? x.k : x.rotatedKeys, op.keys), runtime, x.scratch);
  kernels.run(x.append(x.v, op.values), runtime, x.scratch);
  kernels.run(x.attention(), runtime, x.scratch);
  addLinear(x, x.attended, op.o, op.x, kernels, runtime);
  kernels.run(x.norm(op.mlpNorm), runtime, x.scratch);
  const ops::Matmul gates[] = {x.linear(x.normed, op.gate, x.gate, false), x.linear(x.normed, op.up, x.up, false)};
  kernels.table.matmuls(gates, 2, runtime, x.scratch);
  kernels.run(ops::Swiglu{x.gate, x.up, x.activated}, runtime, x.scratch);
  addLinear(x, x.activated, op.down, op.x, kernels, runtime);
}

}  // namespace lazy_cpu
