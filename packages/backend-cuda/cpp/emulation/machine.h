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
// - what Hopper added (machine_async.cpp): barriers in shared memory that count arrivals and bytes, copies of tiles that land
//   behind them, and products of a warpgroup that run on: read before they are awaited, their operands overwritten, written
//   without a fence between the proxies, waits that nothing ends.
//
// Asynchronous copies land as late as the program allows: in the waiting call, or when no thread can go on. Until then their
// destination counts as unwritten, so a missing wait is always seen.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulation/clocks.h"
#include "emulation/fibre.h"

namespace emulation {

struct Index3 {
  unsigned x = 1, y = 1, z = 1;
};

inline constexpr int warpSize = 32;
inline constexpr int maxThreads = 1024;
inline constexpr int groupSize = 128, maxGroups = maxThreads / groupSize;

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

  // Barriers in shared memory. `bytes` adds to what this phase expects; `land` writes a copy's bytes when it lands.
  void initPhases(std::size_t at, int arrivals);
  // What this thread made may be used, once a barrier has told the others.
  void phasesReady();
  void arrive(std::size_t at, std::size_t bytes);
  void awaitPhase(std::size_t at, int parity, int line);
  void copyTile(std::size_t to, std::size_t bytes, std::function<void(std::byte*)> land, std::size_t at);
  void proxyFence();
  // Of the `threads` that name it.
  void namedBarrier(int id, int threads, int line);
  // What setmaxnreg sets, per thread of the warpgroup.
  void setRegisters(int count);

  // Products of a warpgroup. `function` runs when all 128 threads are there; through the rest it reads its operands, and leaves
  // results that come into being when they are awaited.
  void groupCollective(Collective function, void* argument, int line);
  void fenceProducts();
  void commitProducts();
  void awaitProducts(int groupsLeft);
  // 16 bytes of an operand, read by the warpgroup of the running thread until this group of products is awaited.
  const std::byte* operandRead(std::size_t offset);
  // Member `member` (of 128) of the warpgroup: its registers that a product in flight reads, or writes. `inFlight` is what a
  // product already in flight leaves in them, or what they hold.
  const float* inFlight(int member, const float* registers) const;
  void keepOperand(int member, const std::uint32_t* registers, std::size_t count);
  void keepResult(int member, float* registers, std::vector<float> values);
  // All members have fenced, and have open the same group.
  bool productsAgree();

  void awaitTurn(const int* turn, int value);
  void useTurn(const int* turn);
  void passTurn(int* turn, int value);

  void report(const std::string& what);

  // Products of the tensor cores since the machine began, for tests that want work to be left out.
  void countProduct() { products_ += 1; }
  std::uint64_t products() const { return products_; }

 private:
  enum class State : std::uint8_t { ready, atWarp, atGroup, atBarrier, atNamed, atPhase, done };
  struct Copy {
    std::size_t offset, bytes;
    std::byte data[16];
  };
  // Registers that products of a group read, or write: what they hold until then is a pattern that nobody may change.
  struct InFlight {
    std::uint32_t group;
    const std::uint32_t* operand;
    float* result;
    std::vector<std::uint32_t> bits;
    std::vector<float> values;
  };
  // When a thread had awaited a group of its products.
  struct Awaited {
    std::uint32_t epoch, time;
  };
  struct Thread {
    Fibre fibre;
    Index3 index;
    State state = State::done;
    int line = 0;
    std::vector<std::vector<Copy>> groups;  // oldest first; the last one is open
    std::size_t waitsFor = 0;               // which barrier, and the parity of the phase
    int parity = 0;
    bool productsFenced = false, productsOpen = false;
    std::vector<Awaited> awaited;  // groups of products, the first is number 1
    std::uint32_t committed = 0;
    std::vector<InFlight> inFlight;
  };
  // Who stands at a collective: of a warp or of a warpgroup.
  struct Meeting {
    int arrived = 0;
    int line = 0;
    Collective function = nullptr;
    void* arguments[groupSize] = {};
  };
  struct Warp : Meeting {
    std::uint32_t epoch = 0;
  };
  // A barrier in shared memory. Copies that will land behind it are its actor's writes.
  struct TileCopy {
    std::size_t to, bytes;
    std::function<void(std::byte*)> land;
  };
  struct Phases {
    std::size_t at;
    int arrivals, missing, actor;
    std::ptrdiff_t bytes = 0;  // expected and not landed
    int phase = 0;
    std::uint32_t epoch = 0;  // when it was made, and by whom
    int maker = 0;
    bool ready = false;
    std::vector<TileCopy> copies = {};
    Knowledge gathering = {}, published = {};
  };
  struct Named {
    int threads = 0, arrived = 0;
    Knowledge gathering = {}, published = {};
  };
  // History of two bytes of shared memory, the smallest unit that kernels store.
  struct Granule {
    std::uint32_t writeEpoch = 0, writeWarpEpoch = 0, readEpoch = 0, readWarpEpoch = 0;
    std::uint32_t writeTime = 0;
    std::int16_t writer = -1, readWarp = -1;
    std::int8_t readLane = -1;
    bool written = false;
  };
  // A turn that this block has: who waited for it, and the last use of each thread (-1: none).
  struct Use {
    int thread;
    std::uint32_t epoch, time;
  };
  struct Turn {
    const int* at;
    Use wait;
    std::vector<Use> uses;
  };
  static constexpr std::int16_t severalWarps = -2;
  static constexpr std::int8_t severalLanes = -2;

  static void threadMain(void* machine);
  void runBlock();
  void runWarp(int warp);
  bool settle();
  bool settleBarrier();
  bool meet(Meeting& meeting, int first, int count, Collective function, void* argument, int line, State state);
  Turn* heldTurn(const int* turn);
  void pause(State state, int line);
  bool inBounds(std::size_t offset, std::size_t bytes, const char* access);
  void noteWrite(std::size_t offset, std::size_t bytes, bool written);
  bool orderedAfterWrite(const Granule& g) const;
  bool orderedAfterReads(std::size_t granule) const;
  bool orderedAfter(const Use& use) const;
  std::string place() const;

  // machine_async.cpp
  void beginAsync();
  void endAsync(const Thread& thread);
  void startClocks();
  Phases* phasesAt(std::size_t at, const char* what);
  bool settlePhases();
  void complete(Phases& phases);
  bool orderedAfterProducts(std::size_t granule) const;
  bool groupKnows(const Granule& g);
  std::string writerName(const Granule& g) const;
  void reportStuck(const Thread& thread);
  Thread& running() { return threads_[static_cast<std::size_t>(running_)]; }
  Thread& member(int i) { return threads_[static_cast<std::size_t>(running_ / groupSize * groupSize + i)]; }

  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<Meeting> groups_;
  Clocks clocks_;
  std::vector<Phases> phases_;
  std::array<Named, 16> named_;
  std::array<int, maxGroups> registers_ = {};
  // Per two bytes and warpgroup, the last group of products that reads them; empty until a product does.
  std::vector<std::array<std::uint32_t, maxGroups>> operands_;
  // Per two bytes, when each thread read them last: kept while there are clocks.
  std::vector<std::vector<std::uint32_t>> reads_;
  std::array<Granule, maxGroups> known_ = {};  // the last write that a warpgroup was found to know of
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
