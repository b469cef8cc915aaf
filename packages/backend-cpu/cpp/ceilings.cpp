#include "ceilings.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "arena.h"

namespace lazy_cpu {

namespace {

// Seconds of `rounds` calls, fastest first.
template <class Work>
std::vector<double> timesOf(int rounds, const Work& work) {
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

struct Free {
  void operator()(float* memory) const { ::operator delete(memory, std::align_val_t{hugePage}); }
};

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
  ceilings.flopsPerSecond = operations / timesOf(7, [&] {
                              pool.run(pieces, [&](std::int64_t, int) {
                                float sink[4] = {0.999f, 1e-3f, 0, 0};
                                table.multiplyAdds(rounds, sink);
                              });
                            })[0];
  // In huge pages, as tensors are: other memory is read at half the speed.
  const auto floats = [&](float value) {
    auto* memory = static_cast<float*>(::operator new(bytes, std::align_val_t{hugePage}));
    adviseHugePages(memory, bytes);
    std::fill_n(memory, bytes / sizeof(float), value);
    return std::unique_ptr<float, Free>(memory);
  };
  const auto from = floats(1.0f), to = floats(0.0f);
  const std::int64_t count = static_cast<std::int64_t>(bytes / sizeof(float)), piece = 1 << 16;
  std::vector<float> sums(static_cast<std::size_t>((count + piece - 1) / piece));
  const auto reading = [&](std::int64_t grain, float (*read)(const float*, std::int64_t)) {
    return timesOf(9, [&] {
      pool.ranges(count, grain, [&](std::int64_t begin, std::int64_t end) {
        sums[static_cast<std::size_t>(begin / grain)] = read(from.get() + begin, end - begin);
      });
    });
  };
  const std::vector<double> reads = reading(piece, table.readAll), fourfold = reading(4 * piece, table.readFourfold);
  ceilings.readBytesPerSecond = static_cast<double>(bytes) / reads[0];
  ceilings.usualReadBytesPerSecond = static_cast<double>(bytes) / reads[reads.size() / 2];
  ceilings.usualFourfoldReadBytesPerSecond = static_cast<double>(bytes) / fourfold[fourfold.size() / 2];
  ceilings.copyBytesPerSecond =
      static_cast<double>(bytes) / timesOf(9, [&] {
        pool.ranges(count, piece, [&](std::int64_t begin, std::int64_t end) {
          std::memcpy(to.get() + begin, from.get() + begin, static_cast<std::size_t>(end - begin) * sizeof(float));
        });
      })[0];
  return ceilings;
}

}  // namespace lazy_cpu
