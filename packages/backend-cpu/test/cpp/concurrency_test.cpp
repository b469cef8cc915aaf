// The command queue, the caching allocator above it, the arena below it and the thread pool, without Node, for ThreadSanitizer
// (npm run test:tsan). A program that ends with 0 has passed.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "../../../native/cpp/one_thread.h"
#include "../../../native/cpp/pool.h"
#include "../../../native/cpp/queue.h"
#include "../../cpp/arena.h"
#include "../../cpp/thread_pool.h"

using namespace lazy_native;

namespace {

void check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

// Runs nothing; counts the memory that it has handed out.
class FakeDevice final : public Device {
 public:
  std::string describe() const override { return "fake"; }
  std::vector<DType> dtypes() const override { return {DType::f32}; }
  void* allocate(std::size_t bytes) override {
    if (bytes > (std::size_t{1} << 30)) throw OutOfMemory("too large", bytes);
    live += bytes;
    return ::operator new(bytes);
  }
  void release(void* memory, std::size_t bytes) noexcept override {
    live -= bytes;
    ::operator delete(memory);
  }
  std::size_t freeBytes() const override { return free; }
  std::size_t savedBytes(const AttentionInputs&) const override { return 0; }
  void upload(void*, const void*, std::size_t) override {}
  void download(void*, const void*, std::size_t) override {}
#define LAZY_RUN(name, Op) \
  void run(const Op&, void*) override {}
  LAZY_OPS(LAZY_RUN)
#undef LAZY_RUN

  std::atomic<std::size_t> live{0};
  std::size_t free = 0;
};

Queue::Serve oneThread() {
  return [](Tasks& tasks) { return std::make_unique<OneThread>(tasks); };
}

// The compute threads serve the queue, as in the CPU backend.
struct ComputeThreads final : Server {
  ComputeThreads(int threads, Tasks& tasks) : pool(threads, tasks) {}
  void wake() noexcept override { pool.wake(); }
  lazy_cpu::ThreadPool pool;
};

Queue::Serve computeThreads(int threads, lazy_cpu::ThreadPool** pool = nullptr) {
  return [threads, pool](Tasks& tasks) {
    auto made = std::make_unique<ComputeThreads>(threads, tasks);
    if (pool != nullptr) *pool = &made->pool;
    return made;
  };
}

void queueKeepsOrderAndErrors(const Queue::Serve& serve) {
  std::vector<int> order;  // touched by one task at a time until drain
  Queue queue(serve, 16);  // shallow, so that push has to wait
  for (int i = 0; i < 20000; ++i) queue.push([&order, i] { order.push_back(i); });
  queue.drain();
  check(order.size() == 20000, "every task runs");
  for (int i = 0; i < 20000; ++i) check(order[static_cast<std::size_t>(i)] == i, "tasks run in order");
  queue.push([] { throw std::runtime_error("first"); });
  queue.push([] { throw std::runtime_error("second"); });
  queue.drain();
  try {
    std::rethrow_exception(queue.takeError());
  } catch (const std::runtime_error& error) {
    check(std::string(error.what()) == "first", "the first error is kept");
  }
  check(!queue.takeError(), "an error is reported once");
}

void queueStopsWithWorkQueued(const Queue::Serve& serve) {
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> ran{0};
    const auto owned = std::make_shared<int>(1);
    {
      Queue queue(serve);
      for (int i = 0; i < 100; ++i) queue.push([&ran, owned] { ++ran; });
      if (round % 2 == 0) queue.stop();
    }
    check(ran <= 100, "no task runs twice");
    check(owned.use_count() == 1, "dropped tasks let go of what they hold");
  }
}

// A training step: what its two halves ask for differs, so that more is kept than is in use at a time.
void poolKeepsWhatTheNextStepWants() {
  constexpr std::size_t mega = std::size_t{1} << 20;
  FakeDevice device;
  Queue queue(oneThread());
  const Pool::Fence fence{[&](std::function<void()> then) { queue.push(std::move(then)); }, [&] { queue.drain(); }};
  const auto systemAllocations = [&](std::size_t free) {
    device.free = free;
    Pool pool(device, std::numeric_limits<std::size_t>::max(), fence);
    std::uint64_t before = 0;
    for (int step = 0; step < 3; ++step) {
      before = pool.statistics().systemAllocations;
      for (const auto& [count, bytes] : {std::pair{30, 8 * mega}, std::pair{10, 7 * mega}}) {
        std::vector<Pool::Handle> blocks;
        for (int i = 0; i < count; ++i) blocks.push_back(pool.allocate(bytes));
        for (const Pool::Handle block : blocks) pool.free(block);
      }
    }
    const PoolStatistics& now = pool.statistics();
    check(now.cached <= now.peak + std::max(64 * mega, now.peak / 3), "what is kept is bounded");
    queue.drain();
    return now.systemAllocations - before;
  };
  check(systemAllocations(1000 * mega) == 0, "a step takes what the one before has left");
  check(systemAllocations(10 * mega) > 0, "not at the cost of memory that is short");
  queue.stop();
  check(device.live == 0, "nothing leaks");
}

void poolReusesAndReleases() {
  FakeDevice device;
  {
    Queue queue(oneThread());
    Pool pool(device, std::size_t{64} << 20,
              {[&](std::function<void()> then) { queue.push(std::move(then)); }, [&] { queue.drain(); }});
    for (int step = 0; step < 2000; ++step) {
      std::vector<Pool::Handle> blocks;
      for (std::size_t i = 0; i < 20; ++i) {
        const Pool::Handle block = pool.allocate(1000 * (i + 1) + static_cast<std::size_t>(step % 3) * 5000);
        // Work that writes to the block, queued; the block is freed before it runs.
        queue.push([memory = block->memory] { static_cast<volatile char*>(memory)[0] = 1; });
        blocks.push_back(block);
      }
      for (const Pool::Handle block : blocks) pool.free(block);
    }
    check(pool.statistics().inUse == 0, "all is given back");
    check(pool.statistics().systemAllocations < 200, "blocks are reused");
    bool refused = false;
    try {
      pool.allocate(std::size_t{65} << 20);
    } catch (const OutOfMemory& error) {
      refused = error.requestedBytes == std::size_t{65} << 20;
    }
    check(refused, "the limit holds");
    pool.free(pool.allocate(std::size_t{63} << 20));  // needs what is cached to go
    queue.stop();
  }
  check(device.live == 0, "nothing leaks");
}

void threadsShareLoops() {
  for (const int threads : {1, 2, 4}) {
    lazy_cpu::ThreadPool pool(threads);
    std::vector<int> counts(1000);
    for (int round = 0; round < 3000; ++round) {
      pool.run(round % 1000, [&](std::int64_t item, int) { counts[static_cast<std::size_t>(item)] += 1; });
      pool.stream(round % 1000, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t item = begin; item < end; ++item) counts[static_cast<std::size_t>(item)] += 1;
      });
    }
    for (int item = 0; item < 1000; ++item)
      check(counts[static_cast<std::size_t>(item)] == 6 * (999 - item), "every item runs once");
  }
}

// Between loops everybody goes to sleep, at times that differ.
void threadsSleepAndWake() {
  lazy_cpu::ThreadPool pool(3);
  std::atomic<int> total{0};
  for (int round = 0; round < 300; ++round) {
    pool.run(5, [&](std::int64_t item, int) {
      if (item == round % 5) std::this_thread::sleep_for(std::chrono::microseconds(round));
      total += 1;
    });
    std::this_thread::sleep_for(std::chrono::microseconds(round % 10 == 0 ? 700 : 2 * round % 90));
  }
  check(total == 300 * 5, "no loop is lost");
}

// Loops inside tasks, by whichever thread runs the task; each item once, each thread with its own number.
void crewSharesLoopsOfTasks() {
  for (const int threads : {1, 2, 4}) {
    lazy_cpu::ThreadPool* pool = nullptr;
    Queue queue(computeThreads(threads, &pool));
    std::vector<int> counts(100);
    std::vector<std::atomic<bool>> busy(static_cast<std::size_t>(threads));
    for (int round = 0; round < 3000; ++round) {
      queue.push([&, round] {
        pool->run(round % 100, [&](std::int64_t item, int thread) {
          auto& mine = busy[static_cast<std::size_t>(thread)];
          check(!mine.exchange(true), "a number belongs to one thread at a time");
          counts[static_cast<std::size_t>(item)] += 1;
          mine = false;
        });
      });
      if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::microseconds(round));
    }
    queue.drain();
    for (int item = 0; item < 100; ++item)
      check(counts[static_cast<std::size_t>(item)] == 30 * (99 - item), "every item runs once");
  }
}

// What a task leaves for afterwards runs while later tasks may: here it waits for one of them.
void afterwardsHoldsNobodyUp() {
  Queue queue(computeThreads(2));
  for (int round = 0; round < 300; ++round) {
    std::atomic<bool> later{false}, done{false};
    queue.push([&]() -> Task::Afterwards {
      return [&] {
        while (!later) std::this_thread::yield();
        done = true;
      };
    });
    queue.push([&] { later = true; });
    while (!done) std::this_thread::yield();
  }
}

void queueSleepsAndWakes(const Queue::Serve& serve) {
  Queue queue(serve);
  int ran = 0;  // touched by one task at a time until drain
  for (int round = 0; round < 500; ++round) {
    queue.push([&ran] { ++ran; });
    std::this_thread::sleep_for(std::chrono::microseconds(round % 100 == 0 ? 700 : round % 60));
    if (round % 50 == 0) queue.drain();
  }
  queue.drain();
  check(ran == 500, "no task is lost");
}

// Blocks are made by one thread and given back by another, as tensors are; each keeps what was written to it.
void arenaGivesBackWhatItTook() {
  constexpr std::size_t smallest = lazy_cpu::Arena::smallest;
  lazy_cpu::Arena arena;
  struct Block {
    unsigned char* memory;
    std::size_t bytes;
    unsigned char mark;
  };
  {
    Queue queue(oneThread());
    std::vector<Block> live;
    std::uint32_t random = 1;
    for (int step = 0; step < 3000; ++step) {
      random = random * 1664525u + 1013904223u;
      const std::size_t bytes = smallest + random % (std::size_t{3} << 20);
      auto* memory = static_cast<unsigned char*>(arena.allocate(bytes));
      check(memory != nullptr && reinterpret_cast<std::uintptr_t>(memory) % 64 == 0, "blocks begin at cache lines");
      const auto mark = static_cast<unsigned char>(step);
      memory[0] = memory[bytes - 1] = mark;
      live.push_back({memory, bytes, mark});
      while (live.size() > 20 + random % 20) {
        const std::size_t i = random % live.size();
        const Block block = live[i];
        live.erase(live.begin() + static_cast<std::ptrdiff_t>(i));
        queue.push([&arena, block] {
          check(block.memory[0] == block.mark && block.memory[block.bytes - 1] == block.mark, "blocks do not overlap");
          arena.release(block.memory, block.bytes);
        });
      }
    }
    queue.drain();
    for (const Block& block : live) arena.release(block.memory, block.bytes);
  }
  check(arena.bytes() <= lazy_cpu::Arena::slab, "empty slabs go back to the system, all but one");
}

}  // namespace

int main() {
  for (const Queue::Serve& serve : {oneThread(), computeThreads(1), computeThreads(3)}) {
    queueKeepsOrderAndErrors(serve);
    queueStopsWithWorkQueued(serve);
    queueSleepsAndWakes(serve);
  }
  poolReusesAndReleases();
  poolKeepsWhatTheNextStepWants();
  crewSharesLoopsOfTasks();
  afterwardsHoldsNobodyUp();
  threadsShareLoops();
  threadsSleepAndWake();
  arenaGivesBackWhatItTook();
  std::puts("passed");
}
