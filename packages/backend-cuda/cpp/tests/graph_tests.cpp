// Graphs of the emulated runtime, and decoding in them.
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "device/decoder.h"
#include "device/graph.h"
#include "emulation/graphs.h"
#include "gpu/target.h"
#include "tests/checks.h"

namespace {

void addKernel(int* to, int value) {
  if (threadIdx.x == 0) *to = 10 * *to + value;
}

struct Stream {
  Stream() { cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking); }
  ~Stream() { cudaStreamDestroy(stream); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  void add(int* to, int value) const { gpu::launch("add", addKernel, {1}, {32}, 0, stream, to, value); }
  cudaStream_t stream{};
};

bool throws(const std::function<void()>& work) {
  try {
    work();
    return false;
  } catch (const std::exception&) {
    return true;
  }
}

void recording() {
  const Stream on;
  int digits = 0;
  gpu::Graph graph;
  const auto twoOf = [&](int first, int second) {
    graph.record(on.stream, [&] {
      on.add(&digits, first);
      on.add(&digits, second);
    });
  };
  twoOf(1, 2);
  expect(digits == 0, "what is recorded does not run");
  graph.launch(on.stream);
  graph.launch(on.stream);
  expect(digits == 1212, "a graph runs in order, with arguments of its own, as often as it is launched");
  const emulation::GraphCounts before = emulation::graphCounts();
  twoOf(3, 4);
  graph.launch(on.stream);
  expect(digits == 121234, "other arguments take the place of the old ones");
  expect(emulation::graphCounts().updates == before.updates + 1 &&
             emulation::graphCounts().instantiations == before.instantiations,
         "without a graph being made");
  graph.record(on.stream, [&] { on.add(&digits, 5); });
  graph.launch(on.stream);
  expect(digits == 1212345, "other work takes the place of the old one");
  expect(emulation::graphCounts().instantiations == before.instantiations + 1, "in a new graph");
  on.add(&digits, 6);
  expect(digits == 12123456, "after recording, launches run");
}

void refusals() {
  const Stream on;
  int digits = 0;
  gpu::Graph graph;
  expect(throws([&] { graph.record(on.stream, [&] { cudaStreamSynchronize(on.stream); }); }),
         "waiting for a stream that is captured breaks the capture");
  expect(throws([&] { graph.record(on.stream, [] { throw std::runtime_error("no"); }); }),
         "what recording throws is thrown");
  on.add(&digits, 7);
  expect(digits == 7, "and the stream works again");
  expect(throws([&] { graph.record(nullptr, [] {}); }), "the default stream cannot be captured");
  expect(throws([&] { graph.record(on.stream, [&] { gpu::Graph{}.record(on.stream, [] {}); }); }),
         "a stream is captured once at a time");
}

// A model of one layer whose memory is its own.
struct Model {
  explicit Model(std::int64_t batch) {
    const std::int64_t C = 16, H = 2, D = 8, I = 24, V = 11, capacity = 20;
    gpu::DecoderLayer layer{};
    layer.batch = batch;
    layer.length = 1;
    layer.width = C;
    layer.capacity = capacity;
    layer.heads = layer.kvHeads = H;
    layer.headDim = D;
    layer.inner = I;
    layer.epsilon = 1e-6;
    layer.ropeBase = 10000;
    layer.keys = make(batch * capacity * H * D);
    layer.values = make(batch * capacity * H * D);
    layer.attentionNorm = make(C);
    layer.mlpNorm = make(C);
    layer.q = make(H * D * C);
    layer.k = make(H * D * C);
    layer.v = make(H * D * C);
    layer.o = make(C * H * D);
    layer.gate = make(I * C);
    layer.up = make(I * C);
    layer.down = make(C * I);
    op.layers = {layer, layer};
    op.layers[1].keys = make(layer.keys.size);
    op.layers[1].values = make(layer.values.size);
    op.vocabulary = V;
    op.tokens = make(batch, gpu::DType::i32);
    std::memset(op.tokens.data, 0, op.tokens.bytes());
    op.embeddings = make(V * C);
    op.norm = make(C);
    op.head = make(V * C);
    op.out = make(batch * capacity, gpu::DType::i32);
    op.topP = 1;
    op.topK = V;
  }

  gpu::Tensor make(std::int64_t size, gpu::DType dtype = gpu::DType::f32) {
    memory.emplace_back(new std::byte[static_cast<std::size_t>(size) * 4 + 16]);
    auto* data = static_cast<float*>(static_cast<void*>(memory.back().get()));
    for (std::int64_t i = 0; i < size; ++i) {
      state = state * 1664525u + 1013904223u;
      data[i] = static_cast<float>(state >> 8) / 8388608.0f - 1;
    }
    return {data, size, dtype};
  }

  gpu::Decode op{};
  std::vector<std::unique_ptr<std::byte[]>> memory;
  std::uint32_t state = 1;
};

struct Used {
  int allocations, captures, instantiations, launches;
};
Used decode(gpu::Decoder& decoder, Model& model, std::int64_t steps) {
  model.op.steps = steps;
  std::vector<std::byte> scratch(gpu::workspace(model.op) + 256);
  const emulation::GraphCounts before = emulation::graphCounts();
  const int allocations = emulation::allocations();
  decoder.run(model.op, scratch.data(), [](void* to, const void* from, std::size_t n) { std::memcpy(to, from, n); });
  gpu::check(cudaGetLastError(), "decoding");
  const emulation::GraphCounts after = emulation::graphCounts();
  return {emulation::allocations() - allocations, after.captures - before.captures,
          after.instantiations - before.instantiations, after.launches - before.launches};
}

// Rows beyond sixteen take the ops' own products.
void decoding(std::int64_t batch) {
  const std::string rows = std::to_string(batch) + " rows: ";
  const Stream on;
  gpu::Launches launches;
  gpu::Warnings warnings;
  gpu::Products products(gpu::BlasUse::off, launches, warnings);
  gpu::Decoder decoder(products, launches, on.stream, gpu::AttentionPath::mma);
  Model model(batch);
  const Used one = decode(decoder, model, 1), few = decode(decoder, model, 4), many = decode(decoder, model, 15);
  expect(one.captures == 0 && one.launches == 0, rows + "one token is no graph");
  expect(few.captures == 1 && few.instantiations == 1 && few.launches == 3, rows + "tokens are launches of one graph");
  expect(many.captures == 1 && many.instantiations == 0 && many.launches == 14, rows + "the next call changes it");
  expect(few.allocations == 0 && many.allocations == 0, rows + "nothing is allocated for a token");
}

}  // namespace

void graphTests() {
  recording();
  refusals();
  decoding(1);
  decoding(17);
}
