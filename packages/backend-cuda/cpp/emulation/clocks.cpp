#include "emulation/clocks.h"

#include <algorithm>

namespace emulation {

namespace {
void join(Knowledge& to, const Knowledge& from) {
  if (to.size() < from.size()) to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}
}  // namespace

void Clocks::start(int actors) {
  actors_ = index(actors);
  known_.resize(actors_);
  for (std::size_t i = 0; i < actors_; ++i) {
    known_[i].assign(2 * actors_, 0);
    known_[i][i] = 1;
  }
}

void Clocks::give(int actor, Knowledge& to) {
  join(to, known_[index(actor)]);
  tick(actor);
}

void Clocks::take(int actor, const Knowledge& from) { join(known_[index(actor)], from); }

void Clocks::fence(int actor) {
  Knowledge& own = known_[index(actor)];
  own[actors_ + index(actor)] = own[index(actor)];
  tick(actor);
}

void Clocks::meet(int first, int count) {
  Knowledge all;
  for (int i = first; i < first + count; ++i) give(i, all);
  for (int i = first; i < first + count; ++i) take(i, all);
}

std::uint32_t Clocks::act(int other, Knowledge& to) {
  tick(other);
  const std::uint32_t time = now(other);
  to.resize(2 * actors_);
  to[index(other)] = time;
  // What the asynchronous proxy wrote needs no fence before it reads.
  to[actors_ + index(other)] = time;
  return time;
}

}  // namespace emulation
