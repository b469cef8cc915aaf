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
#include "dispatch.h"
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

// For people.
std::string description(int threads, const std::string& isa) {
  return processorName() + ", " + std::to_string(threads) + (threads == 1 ? " thread, " : " threads, ") +
         displayName(isa);
}

// The compute threads, which also run the queue: whichever is awake begins the next op.
struct ComputeThreads final : ops::Server {
  ComputeThreads(Machine machine, ops::Tasks& tasks) : runtime(machine, tasks) {}
  void wake() noexcept override { runtime.pool.wake(); }

  Runtime runtime;
};

class CpuDevice final : public ops::Device {
 public:
  CpuDevice(const Target& target, int threads) : isa_(target.isa), kernels_(*target.table, {threads, target.unit}) {}

  std::string describe() const override { return description(kernels_.machine.threads, isa_); }
  std::vector<ops::DType> dtypes() const override { return {ops::DType::f32, ops::DType::bf16, ops::DType::i32}; }

  std::vector<ops::DType> packedDtypes() const override {
    using T = ops::DType;
    return {T::w4, T::w8, T::w4k, T::w8k, T::w16};
  }

  std::unique_ptr<ops::Server> serve(ops::Tasks& tasks) override {
    auto computeThreads = std::make_unique<ComputeThreads>(kernels_.machine, tasks);
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
    return static_cast<std::size_t>(2 * in.sizes.batch * in.sizes.heads * in.sizes.queryLength) * sizeof(float);
  }
#define LAZY_SCRATCH(name, Op) \
  std::size_t workspaceBytes(const ops::Op& op) const override { return kernels_.workspace(op); }
  LAZY_OPS(LAZY_SCRATCH)
#undef LAZY_SCRATCH
  std::size_t workspaceBytes(const ops::DecoderLayer& op) const override { return decoderLayerWorkspace(op, kernels_); }
  std::size_t workspaceBytes(const ops::Decode& op) const override { return decodeWorkspace(op, kernels_); }
  bool offers(ops::FusedOp) const override { return true; }

  void upload(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }

#define LAZY_RUN(name, Op) \
  void run(const ops::Op& op, void* workspace) override { kernels_.run(op, *runtime_, workspace); }
  LAZY_OPS(LAZY_RUN)
#undef LAZY_RUN
  void run(const ops::DecoderLayer& op, void* w) override { decoderLayer(op, kernels_, *runtime_, w); }
  void run(const ops::Decode& op, void* w) override { decode(op, kernels_, *runtime_, w); }

 private:
  static std::size_t alignment(std::size_t bytes) { return bytes >= hugePage ? hugePage : 64; }
  [[noreturn]] static void fail(std::size_t bytes) {
    throw ops::OutOfMemory("the system has no memory left for this", bytes);
  }

  const char* const isa_;
  const Kernels kernels_;
  Runtime* runtime_ = nullptr;  // the server's, which the queue holds
  Arena arena_;
};

Target chooseTarget(const std::string& wanted) {
  std::string known;
  for (const Target& target : runnableTargets()) {
    if (wanted == target.isa || wanted == "auto") return target;
    known += (known.empty() ? "" : ", ") + std::string(target.isa);
  }
  throw ops::Unavailable(
      "instruction set '" + wanted + "' is not one that this processor and build run (" + known + ")",
      "leave out the option isa and LAZY_ATTENTION_ISA");
}

ops::Probe probe() {
  const Target best = runnableTargets().front();
  return {true, description(availableThreads(), best.isa), "native kernels for " + displayName(best.isa), ""};
}

std::unique_ptr<ops::Device> create(const ops::Options& options) {
  std::string isa = "auto";
  int threads = availableThreads();
  if (const auto found = options.find("isa"); found != options.end()) isa = std::get<std::string>(found->second);
  if (const auto found = options.find("threads"); found != options.end()) {
    threads = static_cast<int>(std::get<double>(found->second));
  }
  return std::make_unique<CpuDevice>(chooseTarget(isa), threads);
}

// exports.ceilings(threads, isa, bytes, errorOf): for benchmarks; runs for about a second and returns when it is done.
void addCeilings(Napi::Env env, Napi::Object exports) {
  exports.Set("ceilings", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                Ceilings ceilings{};
                try {
                  ceilings = measureCeilings(*chooseTarget(info[1].ToString()).table, info[0].ToNumber().Int32Value(),
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
