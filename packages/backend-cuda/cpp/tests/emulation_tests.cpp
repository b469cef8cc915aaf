// The emulation is tested by kernels that do wrong things on purpose: each must be reported, and its right twin must not.
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "gpu/target.h"
#include "kernels/kernels.h"
#include "tests/checks.h"

namespace {

using gpu::sharedMemory;

void barriers() {
  const auto exchange = [](bool synchronised, int distance) {
    return run(64, 64 * 4, [=] {
      const auto s = sharedMemory<int>();
      const int t = static_cast<int>(threadIdx.x);
      s[t] = t;
      if (synchronised) __syncthreads();
      const int other = distance < 0 ? (t > 0 ? t + distance : 0) : (t + distance) % 64;
      if (s[other] != other) emulation::machine().report("wrong value");
    });
  };
  expectClean("exchange with a barrier", exchange(true, 40));
  expectReport("exchange without a barrier", exchange(false, 40), "nobody wrote");
  // Backwards, every value is there already when the fibres run in order: only the race tells.
  expectReport("lucky exchange without a barrier", exchange(false, -1), "race: reads");
  expectReport("write after read without a barrier",
               run(64, 4,
                   [] {
                     const auto s = sharedMemory<int>();
                     if (threadIdx.x == 0) s[0] = 1;
                     __syncthreads();
                     const int value = s[0];
                     if (threadIdx.x == 63) s[0] = value + 1;
                   }),
               "race: writes");
  expectReport("two threads write the same place", run(64, 4, [] { sharedMemory<int>()[0] = 1; }), "race: writes");
  const auto withinWarp = [](bool synchronised) {
    return run(32, 32 * 4, [=] {
      const auto s = sharedMemory<int>();
      s[threadIdx.x] = 1;
      if (synchronised) __syncwarp();
      const int sum = s[(threadIdx.x + 31) % 32] + s[threadIdx.x];
      if (sum != 2) emulation::machine().report("wrong sum");
    });
  };
  expectClean("exchange within a warp", withinWarp(true));
  expect(!withinWarp(false).empty(), "exchange within a warp without __syncwarp is reported");
  expectReport("a barrier that half the threads skip",
               run(64, 0,
                   [] {
                     if (threadIdx.x < 32) __syncthreads();
                   }),
               "divergent barrier");
  expectReport("two barriers in different places",
               run(64, 0,
                   [] {
                     if (threadIdx.x < 32) {
                       __syncthreads();
                     } else {
                       __syncthreads();
                     }
                   }),
               "divergent barrier");
  expectReport("a shuffle that some lanes skip",
               run(32, 0,
                   [] {
                     if (threadIdx.x < 16) gpu::shuffleXor(1.0f, 1);
                   }),
               "warp collective");
  expectReport("shuffles in different places",
               run(32, 0,
                   [] {
                     if (threadIdx.x < 16) {
                       gpu::shuffleXor(1.0f, 1);
                     } else {
                       gpu::shuffleXor(2.0f, 1);
                     }
                   }),
               "divergent warp collective");
}

void bounds() {
  expectReport("read past the end", run(32, 64, [] { (void)static_cast<int>(sharedMemory<int>()[16]); }), "outside");
  expectReport("write past the end", run(32, 64, [] { sharedMemory<int>()[16 + threadIdx.x] = 1; }), "outside");
  expectReport("write before the start", run(32, 64, [] { sharedMemory<int>()[-1] = 1; }), "outside");
  expectReport("misaligned vector",
               run(32, 64, [] { gpu::sharedCast<float4>(sharedMemory<float>() + 1)[0] = make_float4(0, 0, 0, 0); }),
               "misaligned");
  expectReport("read before write", run(32, 64, [] { (void)static_cast<float>(sharedMemory<float>()[0]); }),
               "nobody wrote");
  expectReport("memory does not survive the block",
               run(
                   32, 128,
                   [] {
                     const auto s = sharedMemory<int>();
                     if (blockIdx.x == 0) s[threadIdx.x] = 1;
                     if (blockIdx.x == 1) (void)static_cast<int>(s[threadIdx.x]);
                   },
                   2),
               "block (1,0,0)");
}

void asynchronousCopies() {
  alignas(16) static std::uint16_t source[8 * 32];
  for (int i = 0; i < 256; ++i) source[i] = static_cast<std::uint16_t>(i);
  const auto copy = [](bool commit, int wait, bool barrier) {
    return run(32, 512, [=] {
      const auto s = sharedMemory<std::uint16_t>();
      const int t = static_cast<int>(threadIdx.x);
      gpu::copyAsync16(s + 8 * t, source + 8 * t, t != 5);
      if (commit) gpu::copyAsyncCommit();
      emulation::machine().waitAsync(wait);
      if (barrier) __syncthreads();
      const int other = (t + 1) % 32;
      const int value = s[8 * other + 3];
      if (value != (other == 5 ? 0 : 8 * other + 3)) emulation::machine().report("wrong value");
    });
  };
  expectClean("copy, commit, wait, barrier", copy(true, 0, true));
  expectReport("wait that leaves the group in flight", copy(true, 1, true), "not awaited");
  expectReport("copy that is never committed", copy(false, 0, true), "not awaited");
  expect(!copy(true, 0, false).empty(), "copy without a barrier is reported");
  expectReport("copy over data that others still read",
               run(64, 512,
                   [] {
                     const auto s = sharedMemory<std::uint16_t>();
                     if (threadIdx.x < 32) s[8 * threadIdx.x] = 1;
                     __syncthreads();
                     (void)static_cast<std::uint16_t>(s[8 * (threadIdx.x % 32)]);
                     if (threadIdx.x >= 32) gpu::copyAsync16(s + 8 * static_cast<int>(threadIdx.x - 32), source, true);
                     gpu::copyAsyncCommit();
                     emulation::machine().waitAsync(0);
                   }),
               "race: writes");
  expectReport(
      "kernel that ends with a copy in flight",
      run(32, 512,
          [] { gpu::copyAsync16(sharedMemory<std::uint16_t>() + 8 * static_cast<int>(threadIdx.x), source, true); }),
      "never waited for");
  expectReport("misaligned copy",
               run(32, 512,
                   [] {
                     gpu::copyAsync16(sharedMemory<std::uint16_t>() + 8 * static_cast<int>(threadIdx.x), source + 1,
                                      true);
                   }),
               "misaligned global");
}

// C = A . B by fragments from shared memory, against three loops.
template <class T>
void tensorCore(const char* name) {
  static float a[16][16], b[16][8], c[16][8];
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) a[i][k] = static_cast<float>((i * 7 + k * 3) % 11 - 5);
    for (int j = 0; j < 8; ++j) b[i][j] = static_cast<float>((i * 5 + j * 2) % 13 - 6);
  }
  for (const bool transposed : {false, true}) {
    const std::string report = run(32, 16 * 16 * 2 + 16 * 16 * 2, [=] {
      const auto sa = sharedMemory<T>(), sb = sharedMemory<T>(512);
      const int lane = static_cast<int>(threadIdx.x);
      for (int i = lane; i < 256; i += 32) {
        sa[i] = gpu::fromFloat<T>(a[i / 16][i % 16]);
        // Stored as [n][k], or as [k][n] in rows of 16, for the transposing load.
        const int row = i / 16, column = i % 16;
        const float value = transposed ? (column < 8 ? b[row][column] : 0) : (row < 8 ? b[column][row] : 0);
        sb[i] = gpu::fromFloat<T>(value);
      }
      __syncthreads();
      std::uint32_t fa[4], fb[4];
      gpu::loadMatrix4(fa, sa + ((lane & 15) * 16 + (lane >> 4) * 8));
      if (transposed) {
        gpu::loadMatrix4Transposed(fb, sb + ((lane & 15) * 16 + (lane >> 4) * 8));
      } else {
        gpu::loadMatrix4(fb, sb + (((lane & 7) + (lane >> 4) * 8) * 16 + ((lane >> 3) & 1) * 8));
      }
      float acc[4] = {1, 1, 1, 1};
      gpu::multiplyAdd<T>(acc, fa, fb[0], fb[1]);
      for (int e = 0; e < 4; ++e) c[lane / 4 + 8 * (e / 2)][2 * (lane % 4) + e % 2] = acc[e];
    });
    expectClean(std::string(name) + " tensor-core product", report);
    bool equal = true;
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        float sum = 1;
        for (int k = 0; k < 16; ++k) sum += a[i][k] * b[k][j];
        equal = equal && sum == c[i][j];
      }
    }
    expect(equal, std::string(name) + " product by fragments equals three loops");
  }
}

// Which lane holds what, written out by hand from the PTX ISA for a few elements.
void fragmentPlaces() {
  static std::uint32_t received[32][4];
  const std::string report = run(32, 512, [] {
    const auto s = sharedMemory<gpu::bf16>();
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < 256; i += 32) s[i] = gpu::bf16{static_cast<std::uint16_t>(i)};
    __syncthreads();
    gpu::loadMatrix4(received[lane], s + lane * 8);  // matrix t: elements 64 t.., row r at 8 r
  });
  expectClean("loadMatrix4", report);
  expect(received[0][0] == (0u | 1u << 16), "lane 0 holds row 0, columns 0 and 1");
  expect(received[5][0] == (10u | 11u << 16), "lane 5 holds row 1, columns 2 and 3");
  expect(received[31][3] == (254u | 255u << 16), "lane 31 of matrix 3 holds row 7, columns 6 and 7");
}

void shuffles() {
  static float sums[32];
  static int firsts[32];
  expectClean("shuffles", run(32, 0, [] {
                sums[threadIdx.x] = gpu::warpSum(static_cast<float>(threadIdx.x));
                firsts[threadIdx.x] = gpu::shuffle(static_cast<int>(threadIdx.x), 7);
                if (!gpu::warpAny(threadIdx.x == 31)) emulation::machine().report("vote lost");
                if (gpu::warpAny(false)) emulation::machine().report("vote won by nobody");
              }));
  expect(sums[0] == 496 && sums[31] == 496, "warpSum adds all lanes");
  expect(firsts[0] == 7 && firsts[31] == 7, "shuffle takes the lane asked for");
}

template <class T>
void roundTrips(const char* name) {
  bool same = true;
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const T value{static_cast<std::uint16_t>(bits)};
    const float wide = gpu::toFloat(value);
    const T back = gpu::fromFloat<T>(wide);
    same = same && (wide != wide ? gpu::toFloat(back) != gpu::toFloat(back) : back.bits == bits);
  }
  expect(same, std::string(name) + ": every value survives f32");
}

void conversions() {
  roundTrips<gpu::bf16>("bf16");
  roundTrips<gpu::f16>("f16");
  expect(gpu::fromFloat<gpu::bf16>(1.0f + 1.0f / 256).bits == 0x3f80, "bf16 ties go to even, down");
  expect(gpu::fromFloat<gpu::bf16>(1.0f + 3.0f / 256).bits == 0x3f82, "bf16 ties go to even, up");
  expect(gpu::fromFloat<gpu::f16>(65504.0f).bits == 0x7bff, "largest f16");
  expect(gpu::fromFloat<gpu::f16>(65520.0f).bits == 0x7c00, "f16 overflows to infinity");
  expect(gpu::fromFloat<gpu::f16>(0x1p-24f).bits == 1, "smallest f16");
  expect(gpu::fromFloat<gpu::f16>(0x1p-25f).bits == 0, "f16 ties go to even, to zero");
  expect(gpu::fromFloat<gpu::f16>(-0.0f).bits == 0x8000, "f16 keeps the sign of zero");
}

void deviceMemory() {
  void* memory = nullptr;
  expect(cudaMalloc(&memory, emulation::deviceMemory + 1) == cudaErrorMemoryAllocation, "more memory than there is");
  expect(cudaMalloc(&memory, 100) == cudaSuccess, "allocation");
  float first = 0;
  std::memcpy(&first, memory, sizeof first);
  expect(first != first, "fresh memory is NaN");
  expect(cudaFree(memory) == cudaSuccess, "free");
  expect(cudaFree(memory) == cudaErrorInvalidValue, "a second free is refused");
}

// Two blocks add to the same place, one after the other, as attention's gradient does.
enum class Turns { right, early, unordered, reversed, together };
std::string takeTurns(Turns how) {
  int state[2] = {0, 0};  // the turn, the next ticket
  alignas(16) float4 sum{0, 0, 0, 0};
  const std::string report = run(
      64, 4,
      [&, how] {
        const auto ticket = sharedMemory<int>();
        if (threadIdx.x == 0) *ticket = gpu::takeTicket(&state[1]);
        __syncthreads();
        const int mine = how == Turns::reversed ? 1 - *ticket : static_cast<int>(*ticket);
        if (threadIdx.x == 0 && how != Turns::early) gpu::awaitTurn(&state[0], mine);
        if (how != Turns::unordered) __syncthreads();
        if (threadIdx.x == 40) {
          float4 x = gpu::loadInTurn(&state[0], &sum);
          x.x += 1;
          gpu::storeInTurn(&state[0], &sum, x);
        }
        if (how != Turns::together) __syncthreads();
        if (threadIdx.x == 0 && how != Turns::early) gpu::passTurn(&state[0], mine + 1);
      },
      2);
  if (report.empty()) expect(sum.x == 2 && state[0] == 2, "both blocks added");
  return report;
}

void turns() {
  expectClean("turns", takeTurns(Turns::right));
  expectReport("a turn that nobody waited for", takeTurns(Turns::early), "without having waited");
  expectReport("no barrier after the wait", takeTurns(Turns::unordered), "without having waited");
  expectReport("later blocks first", takeTurns(Turns::reversed), "no earlier block passes on");
  // The thread that passes on runs first, so nothing was used yet, and the use comes after the turn is gone.
  expect(!takeTurns(Turns::together).empty(), "no barrier before passing on is reported");
}

// Products of one head of 512 tokens, forward (for training) and backward, with a bias that is `near` within 24 tokens.
struct Products {
  std::uint64_t forward, backward;
};
Products productsOf(float near) {
  const std::int64_t L = 512, D = 64, W = 24;
  std::vector<std::vector<char>> memory;
  const auto make = [&](std::int64_t size, gpu::DType dtype, float deviation) {
    memory.emplace_back(static_cast<std::size_t>(size) * gpu::bytesPerElement(dtype) + 16);
    void* data = memory.back().data();
    data = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(data) + 15) / 16 * 16);
    std::uint32_t random = 12345;
    for (std::int64_t i = 0; i < size; ++i) {
      random = random * 1664525 + 1013904223;
      const float x = deviation * (static_cast<float>(random >> 8) / 8388608.0f - 1);
      if (dtype == gpu::DType::bf16)
        static_cast<gpu::bf16*>(data)[i] = gpu::fromFloat<gpu::bf16>(x);
      else
        static_cast<float*>(data)[i] = deviation;
    }
    return gpu::Tensor{data, size, dtype};
  };
  const auto operand = [&](float deviation) { return make(L * D, gpu::DType::bf16, deviation); };
  gpu::AttentionInputs in{{}, {1, L, L, L, 1, 1, D, W}, 0.125, operand(1), operand(1), operand(1), {}};
  in.bias = make(W, gpu::DType::f32, near);
  in.tau = make(1, gpu::DType::f32, -1);
  const auto scratch = [&](std::size_t bytes) {
    return make(static_cast<std::int64_t>(bytes / 4 + 1), gpu::DType::f32, 0).data;
  };
  gpu::Attention forward{in, operand(0), scratch(gpu::savedBytes(in))};
  const std::uint64_t before = emulation::machine().products();
  gpu::run(forward, nullptr, nullptr);
  const std::uint64_t between = emulation::machine().products();
  gpu::AttentionGrad backward{in, operand(1), forward.out, forward.saved, operand(0), operand(0), operand(0), {}};
  backward.gradients.bias = make(W, gpu::DType::f32, 0);
  backward.gradients.tau = make(1, gpu::DType::f32, 0);
  gpu::run(backward, scratch(gpu::workspace(backward)), nullptr);
  gpu::check(cudaGetLastError(), "products");
  return {between - before, emulation::machine().products() - between};
}

void inactiveTiles() {
  const Products dense = productsOf(0), local = productsOf(20);
  // All that stays of a far tile is q . k of pass 1, and of the backward pass s, dq and dk.
  const auto say = [](const char* pass, std::uint64_t few, std::uint64_t all) {
    return std::string(pass) + " of a local head: " + std::to_string(few) + " of " + std::to_string(all) + " products";
  };
  expect(local.forward * 2 < dense.forward, say("forward", local.forward, dense.forward));
  expect(local.backward * 4 < dense.backward * 3, say("backward", local.backward, dense.backward));
}

}  // namespace

int main() {
  barriers();
  bounds();
  asynchronousCopies();
  tensorCore<gpu::bf16>("bf16");
  tensorCore<gpu::f16>("f16");
  fragmentPlaces();
  shuffles();
  conversions();
  deviceMemory();
  turns();
  inactiveTiles();
  hopperTests();
  graphTests();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
