// What a thread knows of the others' past where a barrier of the whole block has not said it: vector clocks.
//
// Actors are the block's threads and, beyond them, whoever writes for a barrier that counts transactions. An access happens at
// its actor's time; what an actor gives away (an arrival) covers its accesses so far, and those it knows of.
#pragma once

#include <cstdint>
#include <vector>

namespace emulation {

// Per actor the time up to which its accesses are known, then up to which its writes went through a proxy fence.
using Knowledge = std::vector<std::uint32_t>;

class Clocks {
 public:
  // Until it is started, no thread knows of another.
  void stop() { actors_ = 0; }
  void start(int actors);
  bool running() const { return actors_ != 0; }

  std::uint32_t now(int actor) const { return running() ? known_[index(actor)][index(actor)] : 1; }
  bool knows(int actor, int other, std::uint32_t time) const {
    return running() && known_[index(actor)][index(other)] >= time;
  }
  bool knowsFenced(int actor, int other, std::uint32_t time) const {
    return running() && known_[index(actor)][index(other) + actors_] >= time;
  }

  // Adds what an actor knows; its later accesses are not covered.
  void give(int actor, Knowledge& to);
  void take(int actor, const Knowledge& from);
  // An actor's writes so far may be read by the asynchronous proxy, by whoever knows of this fence.
  void fence(int actor);
  // All actors below `count` learn what any of them knows.
  void meet(int first, int count);
  // Actor `other` did something that nobody but readers of `to` knows of; returns its time.
  std::uint32_t act(int other, Knowledge& to);

 private:
  static std::size_t index(int actor) { return static_cast<std::size_t>(actor); }
  void tick(int actor) { known_[index(actor)][index(actor)] += 1; }

  std::size_t actors_ = 0;
  std::vector<Knowledge> known_;
};

}  // namespace emulation
