#include "device/decoder.h"

#include <cmath>

#include "lazy_native/pieces.h"

namespace gpu {

namespace {

// Pieces of a workspace begin where an allocation of CUDA's would.
constexpr std::size_t alignment = 256;

// Intermediate results of a layer, which thin products need few of.
struct LayerSpace {
  LayerSpace(const DecoderLayer& op, Pieces& pieces) {
    const DType dtype = op.keys.dtype;
    const std::int64_t rows = op.batch * op.length, query = rows * op.heads * op.headDim;
    q = pieces.take(query, dtype);
    attended = pieces.take(query, dtype);
    activated = pieces.take(rows * op.inner, dtype);
    if (decodesThin(op)) return;
    normed = pieces.take(rows * op.width, dtype);
    k = pieces.take(rows * op.kvHeads * op.headDim, dtype);
    v = pieces.take(k.size, dtype);
    gate = pieces.take(activated.size, dtype);
    up = pieces.take(activated.size, dtype);
    branch = pieces.take(rows * op.width, dtype);
  }

  Tensor q, attended, activated, normed, k, v, gate, up, branch;
};

// Attention over the cache with `tokens` of this call.
Attention attentionOf(const DecoderLayer& op, const LayerSpace& s, std::int64_t tokens) {
  Attention attention{};
  attention.in = {op,  // what attention learned
                  {op.batch, op.length, op.position + tokens, op.capacity, op.heads, op.kvHeads, op.headDim, op.window},
                  1 / std::sqrt(static_cast<double>(op.headDim)),
                  s.q,
                  op.keys,
                  op.values,
                  op.starts};
  attention.out = s.attended;
  return attention;
}

// Of one layer by itself.
struct OneLayer {
  OneLayer(const DecoderLayer& op, Pieces& pieces) : layer(op, pieces), attention(attentionOf(op, layer, op.length)) {
    scratch = pieces.take(workspace(attention));
  }
  LayerSpace layer;
  Attention attention;
  void* scratch;
};

// A layer of the model in any of the steps.
DecoderLayer layerOf(const Decode& op, std::size_t layer, const Tensor& x) {
  DecoderLayer at = op.layers[layer];
  at.x = x;
  at.starts = op.starts;
  return at;
}

// Of several tokens.
struct AllLayers {
  AllLayers(const Decode& op, Pieces& pieces)
      : uniforms(pieces.take(op.uniforms.size() * sizeof(double))),
        steps(static_cast<std::int32_t*>(pieces.take(op.tokens.bytes()))),
        x(pieces.take(op.tokens.size * op.norm.size, op.norm.dtype)),
        normed(pieces.take(x.size, x.dtype)),
        logits(pieces.take(op.tokens.size * op.vocabulary, x.dtype)),
        layer(layerOf(op, 0, x), pieces),
        scratch(pieces.take(workspace(attentionOf(layerOf(op, 0, x), layer, op.steps)))) {}

  void* uniforms;
  std::int32_t* steps;
  Tensor x, normed, logits;
  LayerSpace layer;
  void* scratch;
};

// Launches on a stream, now or into a graph.
class Launcher {
 public:
  Launcher(Products& products, Launches& launches, cudaStream_t stream)
      : products_(products), launches_(launches), stream_(stream) {}

  // `attend` runs the attention of s.q into s.attended.
  template <class Attend>
  void layer(const DecoderLayer& op, const LayerSpace& s, const Growth& growth, const Attend& attend) const {
    if (decodesThin(op)) {
      projectThin(op, s.q, growth, stream_);
      attend();
      addThin(s.attended, op.o, op.x, op.batch, stream_);
      gateThin(op, s.activated, stream_);
      return addThin(s.activated, op.down, op.x, op.batch, stream_);
    }
    const std::int64_t rows = op.batch * op.length;
    norm(op.x, op.attentionNorm, s.normed, op.epsilon);
    linear(s.normed, op.q, s.q, rows);
    linear(s.normed, op.k, s.k, rows);
    linear(s.normed, op.v, s.v, rows);
    appendTokens(op, s.q, s.k, s.v, growth, stream_);
    attend();
    addLinear(s.attended, op.o, s.branch, op.x, rows);
    norm(op.x, op.mlpNorm, s.normed, op.epsilon);
    linear(s.normed, op.gate, s.gate, rows);
    linear(s.normed, op.up, s.up, rows);
    gpu::run(Swiglu{s.gate, s.up, s.activated}, stream_);
    addLinear(s.activated, op.down, s.branch, op.x, rows);
  }

  // One token per row, from the embedding of the last one to that of the next.
  void token(const Decode& op, const AllLayers& s) const {
    const Growth growth{s.steps, op.steps};
    for (std::size_t i = 0; i < op.layers.size(); ++i) {
      const DecoderLayer at = layerOf(op, i, s.x);
      layer(at, s.layer, growth, [&] {
        attendGrowing(attentionOf(at, s.layer, op.steps), growth, s.scratch, stream_);
        launches_.add(AttentionWay::decode);
      });
    }
    if (decodesThin(op.layers.front())) {
      logitsThin(op, s.x, s.logits, stream_);
    } else {
      norm(s.x, op.norm, s.normed, op.layers.front().epsilon);
      linear(s.normed, op.head, s.logits, op.tokens.size);
    }
    drawTokens(op, s.logits, static_cast<const double*>(s.uniforms), s.steps, s.x, stream_);
  }

 private:
  void norm(const Tensor& x, const Tensor& weight, const Tensor& out, double epsilon) const {
    gpu::run(RmsNorm{x, weight, out, x.size / weight.size, weight.size, epsilon}, stream_);
  }
  // out [rows, O] = x [rows, I] times weight [O, I].
  void linear(const Tensor& x, const Tensor& weight, const Tensor& out, std::int64_t rows) const {
    products_.run({x, weight, out, 1, rows, out.size / rows, x.size / rows, false, true, false}, stream_);
  }
  // The product is rounded before it is added, as by the ops that the layer is short for.
  void addLinear(const Tensor& x, const Tensor& weight, const Tensor& branch, const Tensor& to,
                 std::int64_t rows) const {
    linear(x, weight, branch, rows);
    gpu::run(Binary{to, branch, BinaryFunction::add, to}, stream_);
  }

  Products& products_;
  Launches& launches_;
  cudaStream_t stream_;
};

}  // namespace

std::size_t workspace(const DecoderLayer& op) {
  Pieces pieces(nullptr, alignment);
  const OneLayer space(op, pieces);
  return pieces.bytes();
}

std::size_t workspace(const Decode& op) {
  Pieces pieces(nullptr, alignment);
  const AllLayers space(op, pieces);
  return pieces.bytes();
}

void Decoder::run(const DecoderLayer& op, void* workspace) const {
  Pieces pieces(workspace, alignment);
  const OneLayer s(op, pieces);
  Launcher(products_, launches_, stream_).layer(op, s.layer, Growth{}, [&] {
    gpu::run(s.attention, s.scratch, stream_, path_);
    launches_.add(wayOf(s.attention, path_));
  });
}

void Decoder::run(const Decode& op, void* workspace, const Upload& upload) {
  Pieces pieces(workspace, alignment);
  const AllLayers s(op, pieces);
  const Launcher launcher(products_, launches_, stream_);
  if (!op.uniforms.empty()) upload(s.uniforms, op.uniforms.data(), op.uniforms.size() * sizeof(double));
  check(cudaMemsetAsync(s.steps, 0, op.tokens.bytes(), stream_), "decode");
  gpu::run(Embedding{op.embeddings, op.tokens, s.x, op.vocabulary, op.norm.size, op.tokens.size}, stream_);
  const auto token = [&] { launcher.token(op, s); };
  token();  // while it runs, the graph of the others is made
  if (op.steps == 1) return;
  graph_.record(stream_, token);
  for (std::int64_t step = 1; step < op.steps; ++step) graph_.launch(stream_);
}

}  // namespace gpu
