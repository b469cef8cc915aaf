// The CPU as a device of packages/native: chooses the kernels, owns the threads, gives out host memory.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "arena.h"
#include "ceilings.h"
#include "cpu.h"
#include "decode.h"
#include "decoder_layer.h"
#include "kernel_table.h"
#include "lazy_native/addon.h"

namespace lazy_cpu {

namespace {

// AddressSanitizer knows the bounds of what operator new gives, not of what is cut out of a slab.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
constexpr bool slabs = true;
#else
constexpr bool slabs = false;
#endif
bool inSlab(std::size_t bytes) { return slabs && bytes >= Arena::smallest && bytes <= Arena::largest; }
// Below this the system is not asked first whether the memory is there.
constexpr std::size_t largeAllocation = std::size_t{64} << 20;

std::size_t floatsOf(std::size_t count) { return count * sizeof(float); }

// The compute threads, which also run the queue: whichever is awake begins the next op.
struct Crew final : ops::Server {
  Crew(int threads, ops::Tasks& tasks) : runtime(threads, tasks) {}
  void wake() noexcept override { runtime.pool.wake(); }

  Runtime runtime;
};

class CpuDevice final : public ops::Device {
 public:
  CpuDevice(const KernelTable& table, int threads) : table_(table), threads_(threads) {}

  std::string describe() const override {
    return processorName() + ", " + std::to_string(threads_) + (threads_ == 1 ? " thread, " : " threads, ") +
           displayName(table_.name);
  }
  std::vector<ops::DType> dtypes() const override { return {ops::DType::f32, ops::DType::i32}; }

  std::unique_ptr<ops::Server> serve(ops::Tasks& tasks) override {
    auto crew = std::make_unique<Crew>(threads_, tasks);
    runtime_ = &crew->runtime;
    return crew;
  }

  void* allocate(std::size_t bytes) override {
    // Linux promises more memory than there is and ends the program when it is touched; so ask before.
    if (bytes >= largeAllocation) {
      const std::size_t available = availableMemory();
      if (available != 0 && bytes > available) fail(bytes);
    }
    if (inSlab(bytes)) {
      void* memory = arena_.allocate(bytes);
      if (memory == nullptr) fail(bytes);
      return memory;
    }
    void* memory = ::operator new(bytes, std::align_val_t{alignment(bytes)}, std::nothrow);
    if (memory == nullptr) fail(bytes);
    if (bytes >= hugePage) adviseHugePages(memory, bytes);
    return memory;
  }
  void release(void* memory, std::size_t bytes) noexcept override {
    if (inSlab(bytes)) {
      arena_.release(memory, bytes);
    } else {
      ::operator delete(memory, std::align_val_t{alignment(bytes)});
    }
  }
  std::size_t freeBytes() const override { return availableMemory(); }

  std::size_t savedBytes(const ops::AttentionInputs& in) const override {
    return floatsOf(static_cast<std::size_t>(2 * in.sizes.batch * in.sizes.heads * in.sizes.queryLength));
  }
  std::size_t workspaceBytes(const ops::Sum& op) const override { return partials(sumChunks(op.x.size)); }
  std::size_t workspaceBytes(const ops::SumSquares& op) const override {
    std::int64_t chunks = 0;
    for (const ops::Tensor& x : op.xs) chunks += sumChunks(x.size);
    return partials(chunks);
  }
  std::size_t workspaceBytes(const ops::Matmul& op) const override { return table_.matmulWorkspace(op, threads_); }
  std::size_t workspaceBytes(const ops::RmsNormGrad& op) const override {
    return floatsOf(static_cast<std::size_t>(rowChunks(op.rows) * op.width));
  }
  std::size_t workspaceBytes(const ops::Rope&) const override { return 0; }
  std::size_t workspaceBytes(const ops::Attention& op) const override {
    return table_.attentionWorkspace(op.in, threads_);
  }
  std::size_t workspaceBytes(const ops::AttentionGrad& op) const override {
    return table_.attentionGradWorkspace(op.in, threads_);
  }
  std::size_t workspaceBytes(const ops::AttentionWeights& op) const override {
    return table_.attentionWorkspace(op.in, threads_);
  }
  std::size_t workspaceBytes(const ops::ElasticSoftmaxGrad& op) const override {
    return op.dtau ? partials(op.batch * op.heads * op.queryLength) : 0;
  }
  std::size_t workspaceBytes(const ops::EmbeddingGrad&) const override { return 0; }
  std::size_t workspaceBytes(const ops::CrossEntropy& op) const override { return partials(rowChunks(op.rows)); }
  std::size_t workspaceBytes(const ops::CrossEntropyGrad&) const override { return 0; }
  std::size_t workspaceBytes(const ops::DecoderLayer& op) const override {
    return decoderLayerWorkspace(op, table_, threads_);
  }
  std::size_t workspaceBytes(const ops::Decode& op) const override { return decodeWorkspace(op, table_, threads_); }
  bool fusesDecoderLayer() const override { return true; }
  bool fusesDecoding() const override { return true; }

  void upload(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }

  void run(const ops::Fill& op) override { table_.fill(op, *runtime_); }
  void run(const ops::Cast& op) override {
    if (op.x.dtype != op.out.dtype) throw ops::Unsupported("cast: the cpu backend computes in f32 alone");
    std::memcpy(op.out.data, op.x.data, op.x.bytes());
  }
  void run(const ops::CopyRows& op) override { table_.copyRows(op, *runtime_); }
  void run(const ops::Binary& op) override { table_.binary(op, *runtime_); }
  void run(const ops::Scale& op) override { table_.scale(op, *runtime_); }
  void run(const ops::Sum& op, void* w) override { table_.sum(op, *runtime_, static_cast<double*>(w)); }
  void run(const ops::Broadcast& op) override {
    table_.fill({op.out, static_cast<double>(*static_cast<const float*>(op.dy.data))}, *runtime_);
  }
  void run(const ops::SumSquares& op, void* w) override { table_.sumSquares(op, *runtime_, static_cast<double*>(w)); }
  void run(const ops::Matmul& op, void* w) override { table_.matmul(op, *runtime_, static_cast<float*>(w)); }
  void run(const ops::RmsNorm& op) override { table_.rmsNorm(op, *runtime_); }
  void run(const ops::RmsNormGrad& op, void* w) override { table_.rmsNormGrad(op, *runtime_, static_cast<float*>(w)); }
  void run(const ops::Rope& op, void*) override { table_.rope(op, *runtime_); }
  void run(const ops::Attention& op, void* w) override { table_.attention(op, *runtime_, static_cast<float*>(w)); }
  void run(const ops::AttentionGrad& op, void* w) override {
    table_.attentionGrad(op, *runtime_, static_cast<float*>(w));
  }
  void run(const ops::AttentionWeights& op, void* w) override {
    table_.attentionWeights(op, *runtime_, static_cast<float*>(w));
  }
  void run(const ops::ElasticSoftmax& op) override { table_.elasticSoftmax(op, *runtime_); }
  void run(const ops::ElasticSoftmaxGrad& op, void* w) override {
    table_.elasticSoftmaxGrad(op, *runtime_, static_cast<double*>(w));
  }
  void run(const ops::Swiglu& op) override { table_.swiglu(op, *runtime_); }
  void run(const ops::SwigluGrad& op) override { table_.swigluGrad(op, *runtime_); }
  void run(const ops::Embedding& op) override { table_.embedding(op, *runtime_); }
  void run(const ops::EmbeddingGrad& op, void*) override { table_.embeddingGrad(op, *runtime_); }
  void run(const ops::CrossEntropy& op, void* w) override {
    table_.crossEntropy(op, *runtime_, static_cast<double*>(w));
  }
  void run(const ops::CrossEntropyGrad& op, void*) override { table_.crossEntropyGrad(op, *runtime_); }
  void run(const ops::AdamW& op) override { table_.adamw(op, *runtime_); }
  void run(const ops::DecoderLayer& op, void* w) override {
    decoderLayer(op, table_, *runtime_, static_cast<float*>(w));
  }
  void run(const ops::Decode& op, void* w) override { decode(op, table_, *runtime_, w); }

 private:
  static std::size_t partials(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(double); }
  static std::size_t alignment(std::size_t bytes) { return bytes >= hugePage ? hugePage : 64; }
  [[noreturn]] static void fail(std::size_t bytes) {
    throw ops::OutOfMemory("the system has no memory left for this", bytes);
  }

  const KernelTable& table_;
  const int threads_;
  Runtime* runtime_ = nullptr;  // the crew's, which the queue holds
  Arena arena_;
};

const KernelTable& chooseTable(const std::string& wanted) {
  const std::vector<const KernelTable*> tables = runnableTables();
  std::string known;
  for (const KernelTable* table : tables) {
    if (wanted == table->name || wanted == "auto") return *table;
    known += (known.empty() ? "" : ", ") + std::string(table->name);
  }
  throw ops::Unavailable(
      "instruction set '" + wanted + "' is not one that this processor and build run (" + known + ")",
      "leave out the option isa and LAZY_ATTENTION_ISA");
}

ops::Probe probe() {
  const KernelTable& table = *runnableTables().front();
  const int threads = availableThreads();
  return {true,
          processorName() + ", " + std::to_string(threads) + (threads == 1 ? " thread, " : " threads, ") +
              displayName(table.name),
          "native kernels for " + displayName(table.name), ""};
}

std::unique_ptr<ops::Device> create(const ops::Options& options) {
  std::string isa = "auto";
  int threads = availableThreads();
  if (const auto found = options.find("isa"); found != options.end()) isa = std::get<std::string>(found->second);
  if (const auto found = options.find("threads"); found != options.end()) {
    threads = static_cast<int>(std::get<double>(found->second));
  }
  return std::make_unique<CpuDevice>(chooseTable(isa), threads);
}

// exports.ceilings(threads, isa, bytes, errorOf): for benchmarks; runs for about a second and returns when it is done.
void addCeilings(Napi::Env env, Napi::Object exports) {
  exports.Set("ceilings", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                Ceilings ceilings{};
                try {
                  ceilings = measureCeilings(chooseTable(info[1].ToString()), info[0].ToNumber().Int32Value(),
                                             static_cast<std::size_t>(info[2].ToNumber().DoubleValue()));
                } catch (...) {
                  ops::throwIntoJavaScript(info[3].As<Napi::Function>(), "ceilings", std::current_exception());
                  return {};
                }
                Napi::Object out = Napi::Object::New(info.Env());
                out.Set("flopsPerSecond", ceilings.flopsPerSecond);
                out.Set("copyBytesPerSecond", ceilings.copyBytesPerSecond);
                out.Set("readBytesPerSecond", ceilings.readBytesPerSecond);
                out.Set("usualReadBytesPerSecond", ceilings.usualReadBytesPerSecond);
                out.Set("usualFourfoldReadBytesPerSecond", ceilings.usualFourfoldReadBytesPerSecond);
                return out;
              }));
}

}  // namespace

}  // namespace lazy_cpu

LAZY_NATIVE_ADDON_WITH((lazy_native::DeviceFactory{&lazy_cpu::probe, &lazy_cpu::create}), lazy_cpu::addCeilings)
