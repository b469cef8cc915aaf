// What a piece of hardware implements to become a backend. Everything else (tensors as JavaScript sees them, the queue,
// the caching allocator, accounting, error mapping, promises) is the layer's.
//
// Who calls a device:
// - the *JavaScript thread* calls the const questions (describe, dtypes, savedBytes, workspaceBytes, launches), takeWarnings, serve,
//   and the memory functions (allocate, release, freeBytes, allocateHost, releaseHost);
// - the *queue* calls upload, download, run and finish, one at a time and in the order in which JavaScript made the calls, on
//   one thread, attach first, or on the threads of a device that has its own (serve).
// Memory functions may be called while the queue runs an op.
//
// Memory is reused in queue order: a buffer freed by JavaScript may be handed to the next op at once, while an earlier op
// that reads it is still queued. A device that is asynchronous itself must therefore keep its work in order (one stream).
// The layer calls `release` only when `finish` has returned after the buffer's last use, and may do so from the queue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "lazy_native/errors.h"
#include "lazy_native/ops.h"
#include "lazy_native/serving.h"

namespace lazy_native {

class Device {
 public:
  virtual ~Device() = default;

  // For people: 'Intel Xeon, 2 threads, AVX-512'.
  virtual std::string describe() const = 0;
  // Element types that every op takes; always holds f32 and i32.
  virtual std::vector<DType> dtypes() const = 0;

  // Packed types that products (b, transposed), embedding and fused decoding take, beside f32.
  virtual std::vector<DType> packedDtypes() const { return {}; }

  // ---- memory (JavaScript thread) ----
  // At least `bytes` > 0 of device memory aligned to `alignment()`; throws OutOfMemory. Contents are undefined.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory, std::size_t bytes) noexcept = 0;
  // Device memory that could still be allocated, as far as the device knows.
  virtual std::size_t freeBytes() const = 0;
  // Alignment that the device wants for every address it is given; a power of two.
  virtual std::size_t alignment() const { return 64; }
  // Host memory that uploads are staged in (pinned memory for a GPU).
  virtual void* allocateHost(std::size_t bytes);
  virtual void releaseHost(void* memory, std::size_t bytes) noexcept;

  // ---- sizes (JavaScript thread) ----
  // Bytes of what `Attention` keeps for `AttentionGrad` beside inputs and output (lse, u, ...).
  virtual std::size_t savedBytes(const AttentionInputs& in) const = 0;
  // Bytes of scratch that an op wants; the layer hands it to `run` and takes it back afterwards, in queue order. Override
  // for ops that need some. Scratch that does not depend on the problem is better kept inside the device.
#define LAZY_SCRATCH(name, Op) \
  virtual std::size_t workspaceBytes(const Op&) const { return 0; }
  LAZY_OPS(LAZY_SCRATCH)
  LAZY_FUSED_OPS(LAZY_SCRATCH)
#undef LAZY_SCRATCH

  // ---- what a device may have besides (JavaScript thread) ----
  virtual bool offers(FusedOp) const { return false; }

  // ---- what it did (JavaScript thread, while the queue works) ----
  // Whether it chooses between ways to compute an op, and answers the two questions below.
  virtual bool reports() const { return false; }
  // How often each way was taken, by names of its own.
  virtual std::map<std::string, std::uint64_t> launches() const { return {}; }
  // What a user is to hear, since the last call: another way was taken than could be expected.
  virtual std::vector<std::string> takeWarnings() { return {}; }

  // ---- threads (JavaScript thread) ----
  // Who runs the queue's tasks. Asked once, before any work; the queue ends it before the device goes. Default: one thread.
  virtual std::unique_ptr<Server> serve(Tasks& tasks);

  // ---- work (queue) ----
  // The queue's first task: with the default server it runs on the one thread (cudaSetDevice).
  virtual void attach() {}
  // `from` is memory of allocateHost and may be reused once this returns.
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
  // `to` is any host memory; the data is there once this returns, after all work run before it.
  virtual void download(void* to, const void* from, std::size_t bytes) = 0;
  // Returns when all work run so far is done; throws what went wrong in it.
  virtual void finish() {}

  // Every op, with the scratch that it wanted or nullptr. A run may return before the work is done. Throws Unsupported or
  // DeviceLost.
#define LAZY_RUN(name, Op) virtual void run(const Op& op, void* workspace) = 0;
  LAZY_OPS(LAZY_RUN)
#undef LAZY_RUN
#define LAZY_RUN(name, Op) \
  virtual void run(const Op&, void*) { throw Unsupported("this device does not fuse '" #name "'"); }
  LAZY_FUSED_OPS(LAZY_RUN)
#undef LAZY_RUN
};

// Options of `provider.create`, already checked against the list of known names in TypeScript. `memoryLimit` (bytes) is
// the layer's own and does not reach the device.
using Options = std::map<std::string, std::variant<bool, double, std::string>>;

// Answer of a probe; core's ProbeResult.
struct Probe {
  bool available = false;
  std::string device;
  std::string reason;
  std::string fix;  // '' for none
};

// What an addon gives the layer: see addon.h.
struct DeviceFactory {
  Probe (*probe)();
  std::unique_ptr<Device> (*create)(const Options& options);  // throws Unavailable
};

}  // namespace lazy_native
