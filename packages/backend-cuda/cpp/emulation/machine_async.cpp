// What Hopper added to the machine: barriers in shared memory, copies of tiles, products of warpgroups.
#include <algorithm>
#include <cstring>

#include "emulation/machine.h"

namespace emulation {

namespace {
constexpr std::size_t granuleBytes = 2;
constexpr int maxPhases = 64;
// A NaN that no arithmetic makes: what a result's registers hold until it is awaited.
constexpr std::uint32_t pending = 0x7fa5dead;
constexpr std::uint32_t never = 0xffffffff;

std::string number(std::size_t x) { return std::to_string(x); }
}  // namespace

void Machine::beginAsync() {
  clocks_.stop();
  phases_.clear();
  named_.fill(Named{});
  registers_.fill(0);
  operands_.clear();
  reads_.clear();
  known_.fill(Granule{});
}

void Machine::endAsync(const Thread& thread) {
  if (thread.productsOpen || !thread.inFlight.empty()) report("ends with products that it never waited for");
}

void Machine::startClocks() {
  if (clocks_.running()) return;
  clocks_.start(count_ + maxPhases);
  reads_.resize(granules_.size());
}

std::string Machine::writerName(const Granule& g) const {
  return g.writer >= count_ ? "a copy of a tile" : "thread " + std::to_string(g.writer);
}

void Machine::reportStuck(const Thread& thread) {
  const std::string line = " (line " + std::to_string(thread.line) + ")";
  switch (thread.state) {
    case State::atGroup:
      return report("waits in a warpgroup collective" + line + " that its whole warpgroup never reaches");
    case State::atNamed:
      return report("waits at barrier " + number(thread.waitsFor) + line + " that too few threads reach");
    default:
      break;
  }
  const Phases* phases = phasesAt(thread.waitsFor, "waits for");
  if (phases == nullptr) return;
  report("waits" + line + " for the barrier at " + number(thread.waitsFor) + " whose phase never completes: " +
         std::to_string(phases->missing) + " arrivals and " + std::to_string(phases->bytes) + " bytes are missing");
}

// ---- barriers ----

void Machine::initPhases(std::size_t at, int arrivals) {
  if (!inBounds(at, 8, "barrier")) return;
  if (arrivals < 1 || phases_.size() == static_cast<std::size_t>(maxPhases))
    return report("makes an impossible barrier");
  startClocks();
  const auto same = [&](const Phases& p) { return p.at == at; };
  if (std::any_of(phases_.begin(), phases_.end(), same)) return report("makes the barrier at " + number(at) + " twice");
  noteWrite(at, 8, false);
  phases_.push_back({at, arrivals, arrivals, count_ + static_cast<int>(phases_.size()), 0, 0, epoch_, running_});
}

void Machine::phasesReady() {
  for (Phases& phases : phases_) phases.ready = phases.ready || phases.maker == running_;
}

Machine::Phases* Machine::phasesAt(std::size_t at, const char* what) {
  const auto found = std::find_if(phases_.begin(), phases_.end(), [&](const Phases& p) { return p.at == at; });
  if (found == phases_.end()) {
    report(std::string(what) + " a barrier at " + number(at) + " that nobody made");
    return nullptr;
  }
  if (found->epoch == epoch_ && found->maker != running_) {
    report(std::string("race: ") + what + " the barrier at " + number(at) + " that thread " +
           std::to_string(found->maker) + " made since the last barrier");
    return nullptr;
  }
  if (!found->ready) {
    report(std::string(what) + " the barrier at " + number(at) + ", of which its maker did not say that it is ready");
    return nullptr;
  }
  return &*found;
}

void Machine::arrive(std::size_t at, std::size_t bytes) {
  Phases* phases = phasesAt(at, "arrives at");
  if (phases == nullptr) return;
  if (phases->missing == 0) return report("arrives at the barrier at " + number(at) + " once too often in a phase");
  clocks_.give(running_, phases->gathering);
  phases->bytes += static_cast<std::ptrdiff_t>(bytes);
  phases->missing -= 1;
  complete(*phases);
}

void Machine::complete(Phases& phases) {
  if (phases.missing != 0 || phases.bytes != 0) return;
  phases.phase += 1;
  phases.missing = phases.arrivals;
  phases.published.swap(phases.gathering);
  phases.gathering.clear();
  for (int t = 0; t < count_; ++t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
    if (thread.state == State::atPhase && thread.waitsFor == phases.at && (phases.phase & 1) != thread.parity) {
      thread.state = State::ready;
    }
  }
}

void Machine::awaitPhase(std::size_t at, int parity, int line) {
  Phases* phases = phasesAt(at, "waits for");
  if (phases == nullptr) return;
  if ((phases->phase & 1) == parity) {
    running().waitsFor = at;
    running().parity = parity;
    pause(State::atPhase, line);
  }
  clocks_.take(running_, phasesAt(at, "waits for")->published);
}

void Machine::copyTile(std::size_t to, std::size_t bytes, std::function<void(std::byte*)> land, std::size_t at) {
  Phases* phases = phasesAt(at, "copies for");
  if (phases == nullptr) return;
  if (to % 128 != 0 || to + bytes > shared_.size()) {
    return report("copies a tile of " + number(bytes) + " bytes to " + number(to) +
                  ", which is no multiple of 128 or outside the block's " + number(shared_.size()) + " bytes");
  }
  for (std::size_t i = to / granuleBytes; i < (to + bytes) / granuleBytes; ++i) {
    Granule& g = granules_[i];
    if (!orderedAfterWrite(g)) {
      return report("race: copies a tile over shared memory at " + number(i * granuleBytes) + " that " + writerName(g) +
                    " wrote since the last barrier");
    }
    if (!orderedAfterReads(i)) {
      return report("race: copies a tile over shared memory at " + number(i * granuleBytes) +
                    " that another thread read since the last barrier");
    }
    if (!orderedAfterProducts(i)) {
      return report("race: copies a tile over shared memory at " + number(i * granuleBytes) +
                    " that products read which this thread does not know to be done");
    }
    reads_[i].clear();
    g.written = false;
    g.writer = static_cast<std::int16_t>(phases->actor);
    g.writeTime = never;
  }
  phases->copies.push_back({to, bytes, std::move(land)});
}

// Copies of one barrier land, for which all have arrived and somebody waits. True when its phase is over.
bool Machine::settlePhases() {
  for (Phases& phases : phases_) {
    const auto waits = [&](int t) {
      const Thread& thread = threads_[static_cast<std::size_t>(t)];
      return thread.state == State::atPhase && thread.waitsFor == phases.at;
    };
    bool awaited = false;
    for (int t = 0; t < count_; ++t) awaited = awaited || waits(t);
    if (!awaited || phases.missing != 0 || phases.copies.empty()) continue;
    const std::uint32_t time = clocks_.act(phases.actor, phases.gathering);
    for (const TileCopy& copy : phases.copies) {
      copy.land(shared_.data() + copy.to);
      for (std::size_t i = copy.to / granuleBytes; i < (copy.to + copy.bytes) / granuleBytes; ++i) {
        granules_[i].written = true;
        granules_[i].writeTime = time;
      }
      phases.bytes -= static_cast<std::ptrdiff_t>(copy.bytes);
    }
    phases.copies.clear();
    const int before = phases.phase;
    complete(phases);
    if (phases.phase != before) return true;
  }
  return false;
}

void Machine::proxyFence() {
  startClocks();
  clocks_.fence(running_);
}

void Machine::namedBarrier(int id, int threads, int line) {
  if (id < 1 || id > 15 || threads < warpSize || threads > count_ || threads % warpSize != 0) {
    return report("barrier " + std::to_string(id) + " of " + std::to_string(threads) + " threads cannot be");
  }
  startClocks();
  Named& named = named_[static_cast<std::size_t>(id)];
  if (named.arrived != 0 && named.threads != threads) {
    return report("barrier " + std::to_string(id) + " is of " + std::to_string(named.threads) + " threads and of " +
                  std::to_string(threads));
  }
  named.threads = threads;
  clocks_.give(running_, named.gathering);
  running().waitsFor = static_cast<std::size_t>(id);
  if (++named.arrived < threads) {
    pause(State::atNamed, line);
  } else {
    named.arrived = 0;
    named.published.swap(named.gathering);
    named.gathering.clear();
    for (int t = 0; t < count_; ++t) {
      Thread& thread = threads_[static_cast<std::size_t>(t)];
      if (thread.state == State::atNamed && thread.waitsFor == running().waitsFor) thread.state = State::ready;
    }
  }
  clocks_.take(running_, named_[static_cast<std::size_t>(id)].published);
}

void Machine::setRegisters(int count) {
  if (count < 24 || count > 256 || count % 8 != 0) {
    return report("asks for " + std::to_string(count) + " registers; a multiple of 8 from 24 to 256 can be had");
  }
  registers_[static_cast<std::size_t>(running_ / groupSize)] = count;
  int sum = 0;
  for (const int each : registers_) sum += each;
  if (sum * groupSize > 65536) report("asks for more registers than the 65,536 that there are");
}

// ---- products ----

void Machine::groupCollective(Collective function, void* argument, int line) {
  const int group = running_ / groupSize;
  if ((group + 1) * groupSize > count_) return report("is in no whole warpgroup");
  meet(groups_[static_cast<std::size_t>(group)], group * groupSize, groupSize, function, argument, line,
       State::atGroup);
}

void Machine::fenceProducts() { running().productsFenced = true; }

void Machine::commitProducts() {
  Thread& thread = running();
  thread.committed += 1;
  thread.productsFenced = thread.productsOpen = false;
}

bool Machine::productsAgree() {
  const std::uint32_t committed = member(0).committed;
  for (int i = 0; i < groupSize; ++i) {
    Thread& thread = member(i);
    if (thread.committed != committed) {
      report("divergent products: threads have committed different groups");
      return false;
    }
    if (!thread.productsFenced) {
      report("multiplies without a fence for the registers since the last group");
      return false;
    }
    thread.productsOpen = true;
  }
  return true;
}

void Machine::awaitProducts(int groupsLeft) {
  Thread& thread = running();
  if (thread.productsOpen) return report("waits for products before it committed them");
  while (thread.awaited.size() + static_cast<std::size_t>(groupsLeft) < thread.committed) {
    thread.awaited.push_back({epoch_, clocks_.now(running_)});
  }
  const auto done = static_cast<std::uint32_t>(thread.awaited.size());
  for (const InFlight& f : thread.inFlight) {
    if (f.group > done) continue;
    const void* registers = f.result != nullptr ? static_cast<const void*>(f.result) : f.operand;
    if (std::memcmp(registers, f.bits.data(), f.bits.size() * 4) != 0) {
      report(f.result != nullptr ? "race: changes an accumulator of products in flight"
                                 : "race: changes an operand's registers of products in flight");
    }
    if (f.result != nullptr) std::memcpy(f.result, f.values.data(), f.values.size() * 4);
  }
  const auto over = [&](const InFlight& f) { return f.group <= done; };
  thread.inFlight.erase(std::remove_if(thread.inFlight.begin(), thread.inFlight.end(), over), thread.inFlight.end());
}

const float* Machine::inFlight(int i, const float* registers) const {
  const Thread& thread = threads_[static_cast<std::size_t>(running_ / groupSize * groupSize + i)];
  for (const InFlight& f : thread.inFlight) {
    if (f.result == registers) return f.values.data();
  }
  return registers;
}

void Machine::keepOperand(int i, const std::uint32_t* registers, std::size_t count) {
  Thread& thread = member(i);
  thread.inFlight.push_back({thread.committed + 1, registers, nullptr, {registers, registers + count}, {}});
}

void Machine::keepResult(int i, float* registers, std::vector<float> values) {
  Thread& thread = member(i);
  const std::size_t count = values.size();
  for (InFlight& f : thread.inFlight) {
    if (f.result == nullptr) continue;
    if (f.result == registers && f.values.size() == count) {
      f.group = thread.committed + 1;
      f.values = std::move(values);
      return;
    }
    if (registers < f.result + f.values.size() && f.result < registers + count) {
      return report("race: accumulators of products in flight overlap");
    }
  }
  thread.inFlight.push_back(
      {thread.committed + 1, nullptr, registers, std::vector<std::uint32_t>(count, pending), std::move(values)});
  std::memcpy(registers, thread.inFlight.back().bits.data(), count * 4);
}

// All threads of the warpgroup know of a write, and of a fence after it where it came through registers.
bool Machine::groupKnows(const Granule& g) {
  Granule& known = known_[static_cast<std::size_t>(running_ / groupSize)];
  if (g.writer == known.writer && g.writeTime == known.writeTime && g.writeEpoch == known.writeEpoch) return true;
  const int self = running_;
  bool all = true;
  for (int i = 0; i < groupSize && all; ++i) {
    running_ = self / groupSize * groupSize + i;
    if (!orderedAfterWrite(g)) {
      report("race: products read shared memory that " + writerName(g) + " wrote since the last barrier");
      all = false;
    } else if (g.writer < count_ && !clocks_.knowsFenced(running_, g.writer, g.writeTime)) {
      report("race: products read shared memory that " + writerName(g) + " wrote without a fence between the proxies");
      all = false;
    }
  }
  running_ = self;
  if (all) known = g;
  return all;
}

const std::byte* Machine::operandRead(std::size_t offset) {
  if (!inBounds(offset, 16, "product")) return nullptr;
  if (operands_.empty()) operands_.resize(granules_.size());
  const auto group = static_cast<std::size_t>(running_ / groupSize);
  for (std::size_t i = offset / granuleBytes; i < (offset + 16) / granuleBytes; ++i) {
    if (!granules_[i].written) {
      report("products read shared memory at " + number(offset) + " that nobody wrote, or whose copy was not awaited");
      return nullptr;
    }
    if (!groupKnows(granules_[i])) return nullptr;
    operands_[i][group] = member(0).committed + 1;
  }
  return shared_.data() + offset;
}

// One lane of a warp that has awaited the products, and that this thread knows of, speaks for the warp.
bool Machine::orderedAfterProducts(std::size_t granule) const {
  if (operands_.empty()) return true;
  for (std::size_t group = 0; group < operands_[granule].size(); ++group) {
    const std::uint32_t number = operands_[granule][group];
    if (number == 0) continue;
    for (int warp = 0; warp < groupSize / warpSize; ++warp) {
      bool ordered = false;
      for (int lane = 0; lane < warpSize && !ordered; ++lane) {
        const int t = static_cast<int>(group) * groupSize + warp * warpSize + lane;
        const auto& awaited = threads_[static_cast<std::size_t>(t)].awaited;
        if (awaited.size() < number) continue;
        const Awaited& when = awaited[number - 1];
        ordered = t == running_ || when.epoch != epoch_ || clocks_.knows(running_, t, when.time);
      }
      if (!ordered) return false;
    }
  }
  return true;
}

}  // namespace emulation
