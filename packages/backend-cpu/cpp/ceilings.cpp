#include "ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

namespace lazy_cpu {

namespace {

// Amount per second of the fastest of `rounds` calls.
template <class Work>
double best(int rounds, double amount, const Work& work) {
  double fastest = 1e300;
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    fastest = std::min(fastest, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return amount / fastest;
}

}  // namespace

Ceilings measureCeilings(const KernelTable& table, int threads, std::size_t bytes) {
  ThreadPool pool(threads);
  const std::int64_t pieces = threads, rounds = 2'000'000;
  double operations = 0;
  {
    float sink[4] = {0.999f, 1e-3f, 0, 0};
    operations = table.multiplyAdds(1, sink) * static_cast<double>(rounds * pieces);
  }
  Ceilings ceilings{};
  ceilings.flopsPerSecond = best(7, operations, [&] {
    pool.run(pieces, [&](std::int64_t, int) {
      float sink[4] = {0.999f, 1e-3f, 0, 0};
      table.multiplyAdds(rounds, sink);
    });
  });
  std::vector<float> from(bytes / sizeof(float), 1.0f), to(bytes / sizeof(float), 0.0f);
  const std::int64_t count = static_cast<std::int64_t>(from.size()), piece = 1 << 16;
  std::vector<float> sums(static_cast<std::size_t>((count + piece - 1) / piece));
  ceilings.readBytesPerSecond = best(9, static_cast<double>(bytes), [&] {
    pool.ranges(count, piece, [&](std::int64_t begin, std::int64_t end) {
      sums[static_cast<std::size_t>(begin / piece)] = table.readAll(from.data() + begin, end - begin);
    });
  });
  ceilings.copyBytesPerSecond = best(9, static_cast<double>(bytes), [&] {
    pool.ranges(count, piece, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin) * sizeof(float));
    });
  });
  return ceilings;
}

}  // namespace lazy_cpu
