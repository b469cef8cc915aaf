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
struct ComputeThreads final : ops::Server {
  ComputeThreads(int threads, ops::Tasks& tasks) : runtime(threads, tasks) {}
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

  std::vector<ops::DType> packedDtypes() const override { return {ops::DType::w4, ops::DType::w8, ops::DType::w16}; }

  std::unique_ptr<ops::Server> serve(ops::Tasks& tasks) override {
    auto computeThreads = std::make_unique<ComputeThreads>(threads_, tasks);
    runtime_ = &computeThreads->runtime;
    return computeThreads;
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
  std::size_t workspaceBytes(const ops::SumSquares& op) const override {
    std::int64_t chunks = 0;
    for (const ops::Tensor& x : op.xs) chunks += sumChunks(x.size);
    return partials(chunks);
  }
  std::size_t workspaceBytes(const ops::Reduce& op) const override {
    const std::int64_t chunks = reduceChunks(op);
    return chunks > 1 ? static_cast<std::size_t>(op.outer * chunks * op.inner) * sizeof(Partial) : 0;
  }
  std::size_t workspaceBytes(const ops::Matmul& op) const override { return table_.matmulWorkspace(op, threads_); }
  std::size_t workspaceBytes(const ops::RmsNormGrad& op) const override {
    return floatsOf(static_cast<std::size_t>(rowChunks(op.rows) * op.width));
  }
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
  std::size_t workspaceBytes(const ops::CrossEntropy& op) const override { return partials(rowChunks(op.rows)); }
  std::size_t workspaceBytes(const ops::DecoderLayer& op) const override {
    return decoderLayerWorkspace(op, table_, threads_);
  }
  std::size_t workspaceBytes(const ops::Decode& op) const override { return decodeWorkspace(op, table_, threads_); }
  bool offers(ops::FusedOp) const override { return true; }

  void upload(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }

#define LAZY_RUN(name, Op) \
  void run(const ops::Op& op, void* workspace) override { table_.name(op, *runtime_, workspace); }
  LAZY_OPS(LAZY_RUN)
#undef LAZY_RUN
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
  Runtime* runtime_ = nullptr;  // the server's, which the queue holds
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
