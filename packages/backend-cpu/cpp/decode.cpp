#include "decode.h"

#include <algorithm>
#include <cstring>

#include "decoder_layer.h"
#include "lazy_native/pieces.h"
#include "sampling.h"

namespace lazy_cpu {

namespace {

// What lies in the workspace.
struct State {
  // `memory` may be nullptr where only the size is asked for.
  State(const ops::Decode& op, void* memory) {
    ops::Pieces pieces(memory, ops::cacheLine);
    const std::int64_t batch = op.layers.front().batch, width = op.layers.front().width;
    const ops::DType dtype = op.norm.dtype;
    x = pieces.take(batch * width, dtype);
    normed = pieces.take(batch * width, dtype);
    logits = pieces.take(batch * op.vocabulary, dtype);
    drawn = dtype == ops::DType::f32 ? logits : pieces.take(batch * op.vocabulary, ops::DType::f32);
    ids = pieces.take(batch, ops::DType::i32);
    sampling = static_cast<double*>(pieces.take(samplingDoubles(op.vocabulary) * sizeof(double)));
    scratch = pieces.rest();
    bytes = pieces.bytes();
  }

  ops::Tensor x, normed, logits, ids;
  ops::Tensor drawn;  // the logits in f32
  double* sampling;
  void* scratch;  // of the ops, from here on
  std::size_t bytes = 0;
};

ops::Matmul logitsOf(const ops::Decode& op, const State& s) {
  const std::int64_t batch = op.layers.front().batch, width = op.layers.front().width;
  return {s.normed, op.head, s.logits, 1, batch, op.vocabulary, width, false, true, false};
}

ops::Embedding embeddingOf(const ops::Decode& op, const State& s) {
  return {op.embeddings, s.ids, s.x, op.vocabulary, op.layers.front().width, s.ids.size};
}

ops::RmsNorm normOf(const ops::Decode& op, const State& s) {
  return {s.x, op.norm, s.normed, s.ids.size, op.layers.front().width, op.layers.front().epsilon};
}

// A layer in one of the steps.
ops::DecoderLayer layerAt(const ops::Decode& op, const State& s, std::size_t layer, std::int64_t step) {
  ops::DecoderLayer at = op.layers[layer];
  at.position += step;
  at.x = s.x;
  if (op.starts) {
    at.starts = {static_cast<std::int32_t*>(op.starts.data) + step * at.batch, at.batch, ops::DType::i32};
  }
  return at;
}

void sample(const ops::Decode& op, const State& s, std::int64_t step) {
  const std::int64_t batch = s.ids.size;
  auto* const ids = static_cast<std::int32_t*>(s.ids.data);
  for (std::int64_t row = 0; row < batch; ++row) {
    const double uniform = op.uniforms.empty() ? 0 : op.uniforms[static_cast<std::size_t>(step * batch + row)];
    const std::int32_t id = sampleToken(static_cast<float*>(s.drawn.data) + row * op.vocabulary, op.vocabulary,
                                        {op.temperature, op.topP, op.topK}, uniform, s.sampling);
    static_cast<std::int32_t*>(op.out.data)[step * batch + row] = id;
    ids[row] = std::max(id, 0);  // a row without a token goes on with any
  }
}

}  // namespace

std::size_t decodeWorkspace(const ops::Decode& op, const Kernels& kernels) {
  const State s(op, nullptr);
  std::size_t scratch = std::max(kernels.workspace(logitsOf(op, s)), kernels.workspace(embeddingOf(op, s)));
  scratch = std::max(scratch, kernels.workspace(normOf(op, s)));
  // Layers differ in their matrices, steps in how many keys there are.
  for (std::int64_t step = 0; step < op.steps; ++step)
    scratch = std::max(scratch, decoderLayerWorkspace(layerAt(op, s, 0, step), kernels));
  for (std::size_t layer = 1; layer < op.layers.size(); ++layer)
    scratch = std::max(scratch, decoderLayerWorkspace(layerAt(op, s, layer, op.steps - 1), kernels));
  return s.bytes + scratch;
}

void decode(const ops::Decode& op, const Kernels& kernels, Runtime& runtime, void* workspace) {
  const State s(op, workspace);
  std::memcpy(s.ids.data, op.tokens.data, s.ids.bytes());
  for (std::int64_t step = 0; step < op.steps; ++step) {
    kernels.run(embeddingOf(op, s), runtime, s.scratch);
    for (std::size_t layer = 0; layer < op.layers.size(); ++layer)
      decoderLayer(layerAt(op, s, layer, step), kernels, runtime, s.scratch);
    kernels.run(normOf(op, s), runtime, s.scratch);
    kernels.run(logitsOf(op, s), runtime, s.scratch);
    if (s.drawn.data != s.logits.data) kernels.run(ops::Cast{s.logits, s.drawn}, runtime, nullptr);
    sample(op, s, step);
  }
}

}  // namespace lazy_cpu
