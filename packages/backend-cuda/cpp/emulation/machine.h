// A streaming multiprocessor on the host: runs one block at a time, its threads as fibres, and watches what they do.
//
// What it reports (the first violation of a launch, with kernel, block and thread):
// - shared memory: out of bounds, misaligned, read before written, and races: two accesses by different threads, one of
//   them a write, with no barrier between them that orders the two;
// - barriers and warp collectives that not all threads reach, or reach at different source lines;
// - asynchronous copies that nobody waited for before their data was read, or that overwrite data still being read;
// - turns at memory that blocks share: waited for but never passed on, used without a wait that a barrier orders before
//   the use, or passed on while another thread may still use it. Blocks run one after another, in the order of the
//   grid, so a turn that is not there when it is waited for would depend on a block that starts later.
//
// Asynchronous copies land as late as the program allows: in the waiting call. Until then their destination counts as
// unwritten, so a missing wait is always seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulation/fibre.h"

namespace emulation {

struct Index3 {
  unsigned x = 1, y = 1, z = 1;
};

inline constexpr int warpSize = 32;
inline constexpr int maxThreads = 1024;

// One of `warpSize` callers supplies an argument each; the last to arrive runs the function over all of them.
using Collective = void (*)(void* const* arguments);

class Machine {
 public:
  Machine();

  // Runs body for each thread of each block. Returns the violation that was seen, or an empty string.
  std::string launch(const char* name, Index3 grid, Index3 block, std::size_t sharedBytes,
                     const std::function<void()>& body);

  // ---- called by running threads ----
  Index3 threadIndex() const { return threads_[running_].index; }
  Index3 blockIndex() const { return block_; }
  Index3 gridSize() const { return grid_; }
  Index3 blockSize() const { return blockSize_; }
  int lane() const { return running_ % warpSize; }

  void barrier(int line);
  void warpCollective(Collective function, void* argument, int line);
  void warpBarrier(int line);

  // Address of `bytes` of shared memory for an access; nullptr (and a report) when it must not happen.
  const std::byte* sharedRead(std::size_t offset, std::size_t bytes);
  std::byte* sharedWrite(std::size_t offset, std::size_t bytes);
  std::size_t sharedBytes() const { return shared_.size(); }

  void copyAsync(std::size_t offset, const void* from, std::size_t bytes, std::size_t validBytes);
  void commitAsync();
  void waitAsync(int groupsLeft);

  void awaitTurn(const int* turn, int value);
  void useTurn(const int* turn);
  void passTurn(int* turn, int value);

  void report(const std::string& what);

  // Products of the tensor cores since the machine began, for tests that want work to be left out.
  void countProduct() { products_ += 1; }
  std::uint64_t products() const { return products_; }

 private:
  enum class State : std::uint8_t { ready, atWarp, atBarrier, done };
  struct Copy {
    std::size_t offset, bytes;
    std::byte data[16];
  };
  struct Thread {
    Fibre fibre;
    Index3 index;
    State state = State::done;
    int line = 0;
    std::vector<std::vector<Copy>> groups;  // oldest first; the last one is open
  };
  struct Warp {
    int arrived = 0;
    int line = 0;
    Collective function = nullptr;
    void* arguments[warpSize] = {};
    std::uint32_t epoch = 0;
  };
  // History of two bytes of shared memory, the smallest unit that kernels store.
  struct Granule {
    std::uint32_t writeEpoch = 0, writeWarpEpoch = 0, readEpoch = 0, readWarpEpoch = 0;
    std::int16_t writer = -1, readWarp = -1;
    std::int8_t readLane = -1;
    bool written = false;
  };
  // A turn that this block has: who waited for it, and who used it last.
  struct Turn {
    const int* at;
    std::uint32_t epoch, useEpoch;
    int waiter, user;
  };
  static constexpr int severalThreads = -2;
  static constexpr std::int16_t severalWarps = -2;
  static constexpr std::int8_t severalLanes = -2;

  static void threadMain(void* machine);
  void runBlock();
  void runWarp(int warp);
  bool settleBarrier();
  Turn* heldTurn(const int* turn);
  void pause(State state, int line);
  bool inBounds(std::size_t offset, std::size_t bytes, const char* access);
  void noteWrite(std::size_t offset, std::size_t bytes, bool written);
  bool orderedAfterWrite(const Granule& g) const;
  bool orderedAfterReads(const Granule& g) const;
  std::string place() const;

  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::byte> shared_;
  std::vector<Granule> granules_;
  std::vector<Turn> turns_;
  const std::function<void()>* body_ = nullptr;
  const char* name_ = "";
  Index3 grid_, blockSize_, block_;
  int count_ = 0;
  int running_ = 0;
  std::uint32_t epoch_ = 0;
  std::uint64_t products_ = 0;
  std::string violation_;
};

// The machine of this host thread.
Machine& machine();

}  // namespace emulation
