// The emulation of what Hopper added: right kernels give the product that three loops give, and each mistake is reported.
#include <cstdint>
#include <vector>

#include "gpu/hopper.h"
#include "tests/checks.h"

namespace {

using gpu::bf16;
using gpu::f16;
using gpu::Phases;
using gpu::sharedMemory;

Phases phases(int i) { return sharedMemory<std::uint64_t>(40960) + i; }
constexpr std::size_t shared = 40960 + 64;

enum class Hand { right, unmade, unready, unwaited, twice, alone, lost, parity };
// Thread 0 writes, and says so at a barrier at which the others wait.
std::string handOver(Hand how) {
  return run(64, shared, [how] {
    const auto s = sharedMemory<int>();
    const int t = static_cast<int>(threadIdx.x);
    if (t == 0 && how != Hand::unmade) gpu::initPhases(phases(0), how == Hand::lost ? 2 : 1);
    if (t == 0 && how != Hand::unready) gpu::phasesReady();
    if (how != Hand::alone) __syncthreads();
    if (t == 0) {
      s[0] = 7;
      gpu::arrive(phases(0));
      if (how == Hand::twice) s[0] = 8;
    } else if (t >= 32) {
      if (how != Hand::unwaited) gpu::awaitPhase(phases(0), how == Hand::parity ? 1 : 0);
      if (s[0] != 7) emulation::machine().report("wrong value");
    }
  });
}

void barriersInMemory() {
  expectClean("a value handed over at a barrier", handOver(Hand::right));
  expectReport("a barrier that nobody made", handOver(Hand::unmade), "nobody made");
  expectReport("a barrier that is not said to be ready", handOver(Hand::unready), "did not say that it is ready");
  expectReport("a barrier made without telling", handOver(Hand::alone), "made since the last barrier");
  expectReport("no wait at the barrier", handOver(Hand::unwaited), "race: reads");
  expectReport("a write after the arrival", handOver(Hand::twice), "race: reads");
  expectReport("too few arrivals", handOver(Hand::lost), "1 arrivals and 0 bytes are missing");
  expectReport("a wait for the other phase", handOver(Hand::parity), "1 arrivals and 0 bytes are missing");
  expectReport("too many arrivals",
               run(32, shared,
                   [] {
                     if (threadIdx.x != 0) return;
                     gpu::initPhases(phases(0), 2);
                     gpu::phasesReady();
                     gpu::arriveExpecting(phases(0), 16);
                     gpu::arrive(phases(0));
                     gpu::arrive(phases(0));
                   }),
               "once too often");
  const auto named = [](bool all) {
    return run(96, shared, [=] {
      const auto s = sharedMemory<int>();
      const int t = static_cast<int>(threadIdx.x);
      if (t < 64) s[t] = t;
      if (t < 64 && (all || t < 32)) gpu::namedBarrier<1, 64>();
      if (t < 64 && s[63 - t] != 63 - t) emulation::machine().report("wrong value");
    });
  };
  expectClean("a barrier of two warps of three", named(true));
  expect(!named(false).empty(), "a barrier that one of two warps reaches is reported");
  expectReport("a barrier that half its threads reach",
               run(96, shared,
                   [] {
                     if (threadIdx.x < 32) gpu::namedBarrier<1, 64>();
                   }),
               "too few threads");
  expectReport("too many registers",
               run(384, shared,
                   [] {
                     if (threadIdx.x < 128) {
                       gpu::keepRegisters<40>();
                     } else {
                       gpu::takeRegisters<240>();
                     }
                   }),
               "65,536");
}

// [2, 40, 3, 72] of 1, 2, ...; read in boxes of 64 rows.
constexpr int rowsOfSource = 40, headsOfSource = 3, dimOfSource = 72;
alignas(16) bf16 source[2 * rowsOfSource * headsOfSource * dimOfSource];

enum class Tile { right, early, other, bytes, again, kept };
std::string bring(Tile how) {
  const gpu::TensorMap map =
      gpu::tensorMap({source, lazy_native::DType::bf16, 2, rowsOfSource, rowsOfSource, headsOfSource, dimOfSource}, 64);
  return run(64, shared, [=] {
    const auto tile = sharedMemory<bf16>();
    const int t = static_cast<int>(threadIdx.x);
    if (t == 0) {
      gpu::initPhases(phases(0), 1);
      gpu::phasesReady();
    }
    __syncthreads();
    const auto copy = [&] { gpu::copyTile(tile, map, 64, 2, 3, 1, phases(0)); };
    if (t == 0) {
      gpu::arriveExpecting(phases(0), how == Tile::bytes ? 4096 : 8192);
      copy();
    }
    if (how == Tile::kept) return;
    if (how != Tile::early && (how != Tile::other || t < 32)) gpu::awaitPhase(phases(0), 0);
    // Column 64 + 8 u + e of row 3 + r lies in unit u ^ (r % 8) of row r.
    for (int r = t; r < 64; r += 64) {
      for (int c = 0; c < 64; ++c) {
        const float x = gpu::toFloat(static_cast<bf16>(tile[r * 64 + ((c / 8 ^ r % 8) * 8 + c % 8)]));
        const bool inside = r + 3 < rowsOfSource && c + 64 < dimOfSource;
        const int at = ((rowsOfSource + r + 3) * headsOfSource + 2) * dimOfSource + 64 + c;
        if (x != (inside ? gpu::toFloat(source[at]) : 0)) emulation::machine().report("wrong value");
      }
    }
    if (how == Tile::again && t == 63) {
      gpu::arriveExpecting(phases(0), 8192);
      copy();
    }
  });
}

void tiles() {
  for (std::size_t i = 0; i < sizeof source / 2; ++i) source[i] = gpu::fromFloat<bf16>(static_cast<float>(i % 251 + 1));
  expectClean("a tile beyond the ends of its tensor", bring(Tile::right));
  expectReport("a tile read before its barrier", bring(Tile::early), "not awaited");
  expectReport("a tile that another warp awaited", bring(Tile::other), "not awaited");
  expectReport("a barrier that expects other bytes", bring(Tile::bytes), "bytes are missing");
  expectReport("a tile copied over one that is read", bring(Tile::again), "another thread read");
  expectReport("a tile that nobody awaits", bring(Tile::kept), "nobody waited for");
}

// A row of 64 floats, copied as it lies; and what cannot be copied.
std::string bringRow(int first, int count) {
  alignas(16) static float row[80];
  for (int i = 0; i < 80; ++i) row[i] = static_cast<float>(i);
  return run(32, shared, [=] {
    const int t = static_cast<int>(threadIdx.x);
    if (t == 0) {
      gpu::initPhases(phases(0), 1);
      gpu::phasesReady();
      gpu::arriveExpecting(phases(0), count * 4);
      gpu::copyRow(sharedMemory<float>(1024), row + first, count, phases(0));
    }
    __syncthreads();
    gpu::awaitPhase(phases(0), 0);
    for (int i = t; i < count; i += 32) {
      if (sharedMemory<float>(1024)[i] != static_cast<float>(first + i)) emulation::machine().report("wrong value");
    }
  });
}

void rows() {
  expectClean("a row", bringRow(4, 64));
  expectReport("a row that begins between multiples of 16 bytes", bringRow(1, 64), "no multiple of 16 bytes");
  expectReport("a row that ends there", bringRow(4, 63), "no multiple of 16 bytes");
}

enum class Turns { right, unsaid, early };
// One warp waits for a turn, a second uses it, a third passes it on; what each did comes to the next by barriers of its own.
std::string takeTurns(Turns how) {
  int turn = 0;
  float4 sum{};
  return run(
      96, shared,
      [&, how] {
        const int t = static_cast<int>(threadIdx.x);
        if (t == 0) {
          gpu::initPhases(phases(0), 1);
          gpu::initPhases(phases(1), how == Turns::early ? 1 : 32);
          gpu::phasesReady();
        }
        __syncthreads();
        const int mine = static_cast<int>(blockIdx.x);
        if (t == 0) {
          gpu::awaitTurn(&turn, mine);
          gpu::arrive(phases(0));
        } else if (t >= 32 && t < 64) {
          if (how != Turns::unsaid) gpu::awaitPhase(phases(0), 0);
          if (how == Turns::early && t == 32) gpu::arrive(phases(1));
          gpu::storeInTurn(&turn, &sum, gpu::loadInTurn(&turn, &sum));
          if (how != Turns::early) gpu::arrive(phases(1));
        } else if (t == 64) {
          gpu::awaitPhase(phases(1), 0);
          gpu::passTurn(&turn, mine + 1);
        }
      },
      2);
}

void turnsByPhases() {
  expectClean("turns that three warps share", takeTurns(Turns::right));
  expectReport("a turn whose wait nobody told of", takeTurns(Turns::unsaid), "without having waited");
  expectReport("a turn passed on before it is used", takeTurns(Turns::early), "while other threads may still use it");
}

enum class Mistake {
  none,
  noFence,
  noCommit,
  noWait,
  readsEarly,
  changesResult,
  changesOperand,
  noPhase,
  overwritten,
  unproxied,
  oneWarp,
  otherTile
};
// a [64, 64] times b^T, b [n, 64], or, across, b [64, n]; a lies [64, 64] or, across, transposed.
template <class T, int n, bool fromRegisters, bool acrossA, bool acrossB>
struct Product {
  static inline float result[64][n];
  alignas(16) static inline T a[64 * 64], b[n * 64];

  static float left(int i, int k) { return static_cast<float>((i * 7 + k * 3) % 11 - 5); }
  static float right(int k, int j) { return static_cast<float>((k * 5 + j * 2) % 13 - 6); }

  static std::string of(Mistake mistake, bool byThreads = false) {
    for (int i = 0; i < 64; ++i) {
      for (int k = 0; k < 64; ++k) a[acrossA ? k * 64 + i : i * 64 + k] = gpu::fromFloat<T>(left(i, k));
    }
    for (int k = 0; k < 64; ++k) {
      for (int j = 0; j < n; ++j) b[acrossB ? k * n + j : j * 64 + k] = gpu::fromFloat<T>(right(k, j));
    }
    const auto type = std::is_same_v<T, bf16> ? lazy_native::DType::bf16 : lazy_native::DType::f16;
    const gpu::TensorMap mapA = gpu::tensorMap({a, type, 1, 64, 64, 1, 64}, 64);
    const gpu::TensorMap mapB =
        acrossB ? gpu::tensorMap({b, type, 1, 64, 64, 1, n}, 64) : gpu::tensorMap({b, type, 1, n, n, 1, 64}, n);
    return run(256, shared, [=] { kernel(mapA, mapB, mistake, byThreads); });
  }

  static void kernel(const gpu::TensorMap& mapA, const gpu::TensorMap& mapB, Mistake mistake, bool byThreads) {
    const auto tileA = sharedMemory<T>(), tileB = sharedMemory<T>(8192);
    const int t = static_cast<int>(threadIdx.x);
    if (t == 0) {
      gpu::initPhases(phases(0), 1);
      gpu::initPhases(phases(1), 4);
      gpu::initPhases(phases(2), 1);
      gpu::phasesReady();
    }
    __syncthreads();
    if (t >= 128) {
      if (t != 128) return;
      gpu::arriveExpecting(phases(0), 8192 + n * 128);
      if (!byThreads) gpu::copyTile(tileA, mapA, 0, 0, 0, 0, phases(0));
      if (byThreads) gpu::copyTile(sharedMemory<T>(32768), mapA, 0, 0, 0, 0, phases(0));
      gpu::copyTile(tileB, mapB, 0, 0, 0, 0, phases(0));
      if (acrossB && n == 128) gpu::copyTile(tileB + 4096, mapB, 64, 0, 0, 0, phases(0));
      if (mistake != Mistake::overwritten) gpu::awaitPhase(phases(1), 0);
      gpu::arriveExpecting(phases(2), 8192);
      gpu::copyTile(tileB, mapA, 0, 0, 0, 0, phases(2));
      gpu::awaitPhase(phases(2), 0);
      return;
    }
    if (byThreads) {
      // As a copy leaves them.
      for (int i = t; i < 64 * 64; i += 128) tileA[i / 64 * 64 + ((i % 64 / 8 ^ i / 64 % 8) * 8 + i % 8)] = a[i];
      if (mistake != Mistake::unproxied) gpu::proxyFence();
      gpu::namedBarrier<1, 128>();
    }
    if (mistake != Mistake::noPhase) gpu::awaitPhase(phases(0), 0);
    float d[n / 8][4];
    std::uint32_t operand[4][4];
    for (int k = 0; k < 4; ++k) {
      for (int e = 0; e < 8; ++e) {
        const int row = t / 32 * 16 + t % 32 / 4 + e / 2 % 2 * 8, column = 16 * k + t % 4 * 2 + e / 4 * 8 + e % 2;
        const auto bits = static_cast<std::uint32_t>(gpu::fromFloat<T>(left(row, column)).bits);
        operand[k][e / 2] = e % 2 == 0 ? bits : operand[k][e / 2] | bits << 16;
      }
    }
    if (mistake != Mistake::noFence) gpu::fenceProducts();
    for (int k = 0; k < 4; ++k) {
      const auto at = gpu::operandAt(tileB + k * 16 * (acrossB ? 64 : 1), 1024, 8192);
      if constexpr (fromRegisters) {
        gpu::multiply<T, acrossB>(d, operand[k], at, k > 0);
      } else {
        const int other = mistake == Mistake::otherTile && t == 64 ? 1 : 0;
        gpu::multiply<T, acrossA, acrossB>(d, gpu::operandAt(tileA + (k ^ other) * 16 * (acrossA ? 64 : 1), 1024, 8192),
                                           at, k > 0);
      }
    }
    if (mistake != Mistake::noCommit) gpu::commitProducts();
    const float early = d[0][0];
    if (mistake == Mistake::changesResult) d[1][1] = 3;
    if (mistake == Mistake::changesOperand) operand[2][1] += 1;
    if (mistake == Mistake::noWait) return;
    if (mistake != Mistake::oneWarp || t >= 32) gpu::awaitProducts<0>(d, operand);
    if (mistake == Mistake::readsEarly) d[0][0] = early;
    if (t % 32 == 0) gpu::arrive(phases(1));
    if (mistake == Mistake::oneWarp) gpu::awaitProducts<0>(d, operand);
    for (int j = 0; j < n / 8; ++j) {
      for (int e = 0; e < 4; ++e) result[t / 32 * 16 + t % 32 / 4 + e / 2 * 8][8 * j + 2 * (t % 4) + e % 2] = d[j][e];
    }
  }

  static bool equalsLoops() {
    for (int i = 0; i < 64; ++i) {
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int k = 0; k < 64; ++k) sum += left(i, k) * right(k, j);
        if (!(sum == result[i][j])) return false;
      }
    }
    return true;
  }
  static void check(const std::string& name) {
    expectClean(name, of(Mistake::none));
    expect(equalsLoops(), name + " equals three loops");
  }
};

void products() {
  Product<bf16, 64, false, false, false>::check("bf16 64 x 64");
  Product<f16, 128, false, false, false>::check("f16 64 x 128");
  Product<bf16, 64, true, false, false>::check("bf16 from registers");
  Product<f16, 128, true, false, true>::check("f16 from registers, across, two panels");
  Product<bf16, 64, true, false, true>::check("bf16 from registers, across");
  Product<bf16, 128, false, true, true>::check("bf16 both across");
  Product<bf16, 64, false, true, false>::check("bf16 a across");
  Product<bf16, 32, false, false, false>::check("bf16 64 x 32");
  using Tiles = Product<bf16, 64, false, false, false>;
  using Registers = Product<bf16, 64, true, false, true>;
  expectReport("a product without a fence", Tiles::of(Mistake::noFence), "without a fence for the registers");
  expectReport("a wait for products that are not committed", Tiles::of(Mistake::noCommit), "before it committed");
  expectReport("products that nobody awaits", Tiles::of(Mistake::noWait), "never waited for");
  expectReport("a tile multiplied before it is there", Tiles::of(Mistake::noPhase), "not awaited");
  expectReport("a tile overwritten while it is multiplied", Tiles::of(Mistake::overwritten), "over shared memory");
  expectReport("a tile given back before its products are awaited by one warp", Tiles::of(Mistake::oneWarp),
               "products read which");
  expectReport("threads that name different tiles", Tiles::of(Mistake::otherTile), "name different tiles");
  expectReport("an accumulator changed while products run", Tiles::of(Mistake::changesResult),
               "changes an accumulator");
  expectReport("an operand changed while products run", Registers::of(Mistake::changesOperand), "changes an operand");
  expectClean("an accumulator read early", Tiles::of(Mistake::readsEarly));
  expect(!Tiles::equalsLoops(), "an accumulator read early is no result");
  expectClean("a tile that threads wrote", Tiles::of(Mistake::none, true));
  expect(Tiles::equalsLoops(), "a tile that threads wrote gives the same product");
  expectReport("a tile that threads wrote, without a fence", Tiles::of(Mistake::unproxied, true),
               "between the proxies");
}

}  // namespace

void hopperTests() {
  barriersInMemory();
  tiles();
  rows();
  turnsByPhases();
  products();
}
