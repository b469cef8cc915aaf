#include "emulation/machine.h"

#include <algorithm>
#include <cstring>

namespace emulation {

namespace {
constexpr std::size_t granuleBytes = 2;
}

Machine& machine() {
  static thread_local std::unique_ptr<Machine> instance;
  if (!instance) instance = std::make_unique<Machine>();
  return *instance;
}

Machine::Machine() = default;

std::string Machine::launch(const char* name, Index3 grid, Index3 block, std::size_t sharedBytes,
                            const std::function<void()>& body) {
  violation_.clear();
  name_ = name;
  grid_ = grid;
  blockSize_ = block;
  body_ = &body;
  count_ = static_cast<int>(block.x * block.y * block.z);
  if (count_ == 0 || count_ > maxThreads || count_ % warpSize != 0) {
    return std::string(name) + ": blocks of " + std::to_string(count_) + " threads; emulated blocks hold whole warps";
  }
  if (grid.y > 65535 || grid.z > 65535) return std::string(name) + ": grid is larger than 65535 in y or z";
  while (threads_.size() < static_cast<std::size_t>(count_)) threads_.emplace_back();
  warps_.resize(static_cast<std::size_t>(count_ / warpSize));
  groups_.resize(static_cast<std::size_t>((count_ + groupSize - 1) / groupSize));
  shared_.resize(sharedBytes);
  granules_.resize((sharedBytes + granuleBytes - 1) / granuleBytes);
  for (unsigned z = 0; z < grid.z && violation_.empty(); ++z) {
    for (unsigned y = 0; y < grid.y && violation_.empty(); ++y) {
      for (unsigned x = 0; x < grid.x && violation_.empty(); ++x) {
        block_ = {x, y, z};
        runBlock();
      }
    }
  }
  return violation_;
}

void Machine::threadMain(void* self) {
  auto* machine = static_cast<Machine*>(self);
  (*machine->body_)();
  Thread& thread = machine->threads_[static_cast<std::size_t>(machine->running_)];
  for (const auto& group : thread.groups) {
    if (!group.empty()) machine->report("ends with asynchronous copies that it never waited for");
  }
  machine->endAsync(thread);
  thread.state = State::done;
  thread.fibre.leave();
}

void Machine::runBlock() {
  epoch_ = 0;
  turns_.clear();
  std::fill(granules_.begin(), granules_.end(), Granule{});
  // Not zero: a zero would hide a read of memory that nobody wrote.
  std::fill(shared_.begin(), shared_.end(), std::byte{0xff});
  for (Warp& warp : warps_) warp = Warp{};
  for (Meeting& group : groups_) group = Meeting{};
  beginAsync();
  for (int t = 0; t < count_; ++t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
    const auto i = static_cast<unsigned>(t);
    thread.index = {i % blockSize_.x, i / blockSize_.x % blockSize_.y, i / blockSize_.x / blockSize_.y};
    thread.state = State::ready;
    thread.groups.clear();
    thread.productsFenced = thread.productsOpen = false;
    thread.awaited.clear();
    thread.committed = 0;
    thread.inFlight.clear();
    thread.fibre.prepare(&Machine::threadMain, this);
  }
  do {
    for (int w = 0; w < count_ / warpSize; ++w) runWarp(w);
  } while (violation_.empty() && settle());
  for (const Phases& phases : phases_) {
    if (violation_.empty() && !phases.copies.empty()) report("ends with copies of tiles that nobody waited for");
  }
}

void Machine::runWarp(int warp) {
  for (bool ran = true; ran && violation_.empty();) {
    ran = false;
    for (int lane = 0; lane < warpSize; ++lane) {
      Thread& thread = threads_[static_cast<std::size_t>(warp * warpSize + lane)];
      if (thread.state != State::ready) continue;
      running_ = warp * warpSize + lane;
      thread.fibre.enter();
      if (!thread.fibre.stackIntact()) report("overran its fibre's stack");
      // The other fibres are abandoned where they stand; kernels own nothing that would leak.
      if (!violation_.empty()) return;
      ran = true;
    }
  }
}

// True when somebody can go on: by himself, since what he waits for has landed, or since all stand at the same barrier.
bool Machine::settle() {
  for (int t = 0; t < count_; ++t) {
    if (threads_[static_cast<std::size_t>(t)].state == State::ready) return true;
  }
  if (settlePhases()) return true;
  return violation_.empty() && settleBarrier();
}

// True when all threads stand at the same barrier, which is then open. False when all are done, or with a report.
bool Machine::settleBarrier() {
  int done = 0, waiting = 0;
  int line = -1;
  for (int t = 0; t < count_; ++t) {
    const Thread& thread = threads_[static_cast<std::size_t>(t)];
    running_ = t;
    if (thread.state == State::done) {
      done += 1;
    } else if (thread.state == State::atWarp) {
      report("waits in a warp collective (line " + std::to_string(thread.line) + ") that its whole warp never reaches");
      return false;
    } else if (thread.state != State::atBarrier) {
      reportStuck(thread);
      return false;
    } else {
      waiting += 1;
      if (line == -1) line = thread.line;
      if (line != thread.line) {
        report("divergent barrier: threads wait at lines " + std::to_string(line) + " and " +
               std::to_string(thread.line));
        return false;
      }
    }
  }
  if (waiting == 0) return false;
  if (done != 0) {
    report("divergent barrier: " + std::to_string(done) + " of " + std::to_string(count_) +
           " threads ended while the others wait at line " + std::to_string(line));
    return false;
  }
  epoch_ += 1;
  if (clocks_.running()) clocks_.meet(0, count_);
  for (int t = 0; t < count_; ++t) threads_[static_cast<std::size_t>(t)].state = State::ready;
  return true;
}

void Machine::pause(State state, int line) {
  Thread& thread = threads_[static_cast<std::size_t>(running_)];
  thread.state = state;
  thread.line = line;
  thread.fibre.leave();
}

void Machine::barrier(int line) { pause(State::atBarrier, line); }

// True when this thread is the last to arrive, and has run the function for all.
bool Machine::meet(Meeting& meeting, int first, int count, Collective function, void* argument, int line, State state) {
  if (meeting.arrived != 0 && (meeting.function != function || meeting.line != line)) {
    report(std::string("divergent ") + (state == State::atWarp ? "warp" : "warpgroup") +
           " collective: lanes are at lines " + std::to_string(meeting.line) + " and " + std::to_string(line));
    pause(state, line);
    return false;
  }
  meeting.function = function;
  meeting.line = line;
  meeting.arguments[running_ - first] = argument;
  if (++meeting.arrived < count) {
    pause(state, line);
    return false;
  }
  meeting.arrived = 0;
  if (function != nullptr) function(meeting.arguments);
  for (int i = 0; i < count; ++i) threads_[static_cast<std::size_t>(first + i)].state = State::ready;
  return true;
}

void Machine::warpCollective(Collective function, void* argument, int line) {
  const int first = running_ / warpSize * warpSize;
  Warp& warp = warps_[static_cast<std::size_t>(running_ / warpSize)];
  if (!meet(warp, first, warpSize, function, argument, line, State::atWarp) || function != nullptr) return;
  warp.epoch += 1;
  if (clocks_.running()) clocks_.meet(first, warpSize);
}

// Only this orders memory within a warp; shuffles and the like do not.
void Machine::warpBarrier(int line) { warpCollective(nullptr, nullptr, line); }

bool Machine::inBounds(std::size_t offset, std::size_t bytes, const char* access) {
  if (offset + bytes > shared_.size() || offset + bytes < offset) {
    report(std::string("shared memory ") + access + " of " + std::to_string(bytes) + " bytes at " +
           std::to_string(static_cast<std::ptrdiff_t>(offset)) + " is outside the block's " +
           std::to_string(shared_.size()) + " bytes");
    return false;
  }
  if (offset % bytes != 0) {
    report(std::string("shared memory ") + access + " of " + std::to_string(bytes) + " bytes at " +
           std::to_string(offset) + " is misaligned");
    return false;
  }
  return true;
}

bool Machine::orderedAfterWrite(const Granule& g) const {
  if (g.writer < 0 || g.writer == running_) return true;
  if (clocks_.knows(running_, g.writer, g.writeTime)) return true;
  if (g.writer >= count_) return false;  // a copy, of which only its barrier tells
  if (g.writeEpoch != epoch_) return true;
  return g.writer / warpSize == running_ / warpSize &&
         g.writeWarpEpoch != warps_[static_cast<std::size_t>(running_ / warpSize)].epoch;
}

bool Machine::orderedAfterReads(std::size_t granule) const {
  if (clocks_.running()) {
    const std::vector<std::uint32_t>& reads = reads_[granule];
    for (std::size_t t = 0; t < reads.size(); ++t) {
      const int thread = static_cast<int>(t);
      if (reads[t] != 0 && thread != running_ && !clocks_.knows(running_, thread, reads[t])) return false;
    }
    return true;
  }
  const Granule& g = granules_[granule];
  if (g.readWarp == -1 || g.readEpoch != epoch_) return true;
  if (g.readWarp != running_ / warpSize) return false;
  return g.readLane == lane() || g.readWarpEpoch != warps_[static_cast<std::size_t>(running_ / warpSize)].epoch;
}

const std::byte* Machine::sharedRead(std::size_t offset, std::size_t bytes) {
  if (!inBounds(offset, bytes, "read")) return nullptr;
  const auto warp = static_cast<std::int16_t>(running_ / warpSize);
  const std::uint32_t warpEpoch = warps_[static_cast<std::size_t>(warp)].epoch;
  for (std::size_t i = offset / granuleBytes; i < (offset + bytes + granuleBytes - 1) / granuleBytes; ++i) {
    Granule& g = granules_[i];
    if (!g.written) {
      report("reads shared memory at " + std::to_string(offset) + " that nobody wrote, or whose copy was not awaited");
      return nullptr;
    }
    if (!orderedAfterWrite(g)) {
      report("race: reads shared memory at " + std::to_string(offset) + " that " + writerName(g) +
             " wrote since the last barrier");
      return nullptr;
    }
    if (clocks_.running()) {
      std::vector<std::uint32_t>& reads = reads_[i];
      if (reads.empty()) reads.resize(static_cast<std::size_t>(count_));
      reads[static_cast<std::size_t>(running_)] = clocks_.now(running_);
      continue;
    }
    if (g.readEpoch != epoch_ || g.readWarp == -1) {
      g.readEpoch = epoch_;
      g.readWarp = warp;
      g.readLane = static_cast<std::int8_t>(lane());
      g.readWarpEpoch = warpEpoch;
    } else if (g.readWarp != warp) {
      g.readWarp = severalWarps;
    } else if (g.readWarpEpoch != warpEpoch) {
      g.readWarpEpoch = warpEpoch;
      g.readLane = static_cast<std::int8_t>(lane());
    } else if (g.readLane != lane()) {
      g.readLane = severalLanes;
    }
  }
  return shared_.data() + offset;
}

void Machine::noteWrite(std::size_t offset, std::size_t bytes, bool written) {
  const std::uint32_t warpEpoch = warps_[static_cast<std::size_t>(running_ / warpSize)].epoch;
  for (std::size_t i = offset / granuleBytes; i < (offset + bytes + granuleBytes - 1) / granuleBytes; ++i) {
    Granule& g = granules_[i];
    if (!orderedAfterWrite(g)) {
      report("race: writes shared memory at " + std::to_string(offset) + " that " + writerName(g) +
             " wrote since the last barrier");
    } else if (!orderedAfterProducts(i)) {
      report("race: writes shared memory at " + std::to_string(offset) +
             " that products read which this thread does not know to be done");
    } else if (!orderedAfterReads(i)) {
      report("race: writes shared memory at " + std::to_string(offset) +
             " that another thread read since the last barrier");
    }
    if (clocks_.running()) reads_[i].clear();
    g.writeEpoch = epoch_;
    g.writeWarpEpoch = warpEpoch;
    g.writeTime = clocks_.now(running_);
    g.writer = static_cast<std::int16_t>(running_);
    g.written = written;
  }
}

std::byte* Machine::sharedWrite(std::size_t offset, std::size_t bytes) {
  if (!inBounds(offset, bytes, "write")) return nullptr;
  noteWrite(offset, bytes, true);
  return shared_.data() + offset;
}

void Machine::copyAsync(std::size_t offset, const void* from, std::size_t bytes, std::size_t validBytes) {
  if (!inBounds(offset, bytes, "asynchronous write")) return;
  noteWrite(offset, bytes, false);
  Copy copy{offset, bytes, {}};
  if (validBytes != 0) {
    if (reinterpret_cast<std::uintptr_t>(from) % bytes != 0) return report("copies from a misaligned global address");
    std::memcpy(copy.data, from, validBytes);
  }
  auto& groups = threads_[static_cast<std::size_t>(running_)].groups;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back(copy);
}

void Machine::commitAsync() {
  auto& groups = threads_[static_cast<std::size_t>(running_)].groups;
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}

void Machine::waitAsync(int groupsLeft) {
  auto& groups = threads_[static_cast<std::size_t>(running_)].groups;
  while (static_cast<int>(groups.size()) - 1 > groupsLeft) {
    for (const Copy& copy : groups.front()) {
      noteWrite(copy.offset, copy.bytes, true);
      std::memcpy(shared_.data() + copy.offset, copy.data, copy.bytes);
    }
    groups.erase(groups.begin());
  }
}

Machine::Turn* Machine::heldTurn(const int* turn) {
  const auto found = std::find_if(turns_.begin(), turns_.end(), [&](const Turn& t) { return t.at == turn; });
  return found == turns_.end() ? nullptr : &*found;
}

void Machine::awaitTurn(const int* turn, int value) {
  if (*turn != value) {
    return report("waits for turn " + std::to_string(value) + ", which no earlier block passes on: it is turn " +
                  std::to_string(*turn));
  }
  turns_.push_back({turn, {running_, epoch_, clocks_.now(running_)}, {}});
}

bool Machine::orderedAfter(const Use& use) const {
  return use.thread == running_ || use.epoch != epoch_ || clocks_.knows(running_, use.thread, use.time);
}

void Machine::useTurn(const int* turn) {
  Turn* held = heldTurn(turn);
  if (held == nullptr || !orderedAfter(held->wait)) {
    return report("race: uses what blocks share without having waited for its turn");
  }
  held->uses.resize(static_cast<std::size_t>(count_), {-1, 0, 0});
  held->uses[static_cast<std::size_t>(running_)] = {running_, epoch_, clocks_.now(running_)};
}

void Machine::passTurn(int* turn, int value) {
  const Turn* held = heldTurn(turn);
  if (held == nullptr) return report("passes on a turn that it does not have");
  for (const Use& use : held->uses) {
    if (use.thread >= 0 && !orderedAfter(use))
      return report("race: passes its turn on while other threads may still use it");
  }
  *turn = value;
  turns_.erase(turns_.begin() + (held - turns_.data()));
}

std::string Machine::place() const {
  const Index3 t = threads_[static_cast<std::size_t>(running_)].index;
  const auto format = [](Index3 i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
  };
  return std::string(name_) + ", block " + format(block_) + ", thread " + format(t);
}

void Machine::report(const std::string& what) {
  if (violation_.empty()) violation_ = place() + ": " + what;
}

}  // namespace emulation
