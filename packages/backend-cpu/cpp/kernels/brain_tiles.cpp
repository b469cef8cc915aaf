// Three ways to the same product of bf16 tiles:
// - tiles: AMX. Per 32 of k it adds up the even and the odd products apart, from zero, then adds both to the sum.
// - vectors: the same sums in the same order in any instruction set, so equal to AMX bit for bit but for denormal numbers, which
//   AMX takes as zero. Products of bf16 are exact in f32, so fused and separate additions agree.
// - dots: AVX512-BF16, which adds a pair's odd product, then its even one, to the sum.
// Measurements: docs/kernels/cpu.md.
#include "brain_tiles.h"

#if defined(__AVX512F__) && defined(__x86_64__)
#define LAZY_BRAIN_UNITS 1
#include <immintrin.h>
#endif

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

LAZY_INLINE Unsigned wordsFrom(const std::uint16_t* p) {
  Unsigned v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
LAZY_INLINE Vector evenOf(Unsigned pairs) { return reinterpret_cast<Vector>(pairs << 16); }
LAZY_INLINE Vector oddOf(Unsigned pairs) { return reinterpret_cast<Vector>(pairs & 0xffff0000u); }

// R rows by one vector of columns of a tile of C.
template <int R>
LAZY_INLINE void vectorTile(const std::uint16_t* a, const std::uint16_t* b, float* c, std::int64_t ld, bool fresh) {
  Vector even[R] = {}, odd[R] = {};
  for (int p = 0; p < tileSide; ++p) {
    const Unsigned pairs = wordsFrom(b + p * 2 * tileSide);
    const Vector first = evenOf(pairs), second = oddOf(pairs);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      std::uint32_t word;
      std::memcpy(&word, a + r * tileDepth + 2 * p, sizeof word);
      const Unsigned both = word - Unsigned{};
      even[r] += evenOf(both) * first;
      odd[r] += oddOf(both) * second;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    float* const to = c + r * ld;
    store(to, (fresh ? Vector{} : load(to)) + (even[r] + odd[r]));
  }
}

void multiplyVectors(const std::uint16_t* a, const std::uint16_t* b, std::int64_t steps, float* c, std::int64_t ld,
                     bool fresh) {
  constexpr int rows = registers == 32 ? 8 : 4;
  for (std::int64_t step = 0; step < steps; ++step, a += panelHalves, b += panelHalves, fresh = false)
    for (int i = 0; i < blockSide; i += rows)
      for (int j = 0; j < blockSide; j += lanes)
        vectorTile<rows>(a + i / tileSide * tileHalves + i % tileSide * tileDepth,
                         b + j / tileSide * tileHalves + j % tileSide * 2, c + i * ld + j, ld, fresh);
}

#if defined(LAZY_BRAIN_UNITS)

__attribute__((target("avx512bf16"))) void multiplyDots(const std::uint16_t* a, const std::uint16_t* b,
                                                        std::int64_t steps, float* c, std::int64_t ld, bool fresh) {
  constexpr int rows = 8;
  for (int i = 0; i < blockSide; i += rows, c += rows * ld) {
    __m512 sums[rows][2];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int t = 0; t < 2; ++t) sums[r][t] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(c + r * ld + t * tileSide);
    const std::uint16_t* rowsOfA = a + i / tileSide * tileHalves + i % tileSide * tileDepth;
    const std::uint16_t* tilesOfB = b;
    for (std::int64_t step = 0; step < steps; ++step, rowsOfA += panelHalves, tilesOfB += panelHalves) {
      for (int p = 0; p < tileSide; ++p) {
        const auto left = reinterpret_cast<__m512bh>(_mm512_loadu_si512(tilesOfB + p * 2 * tileSide));
        const auto right = reinterpret_cast<__m512bh>(_mm512_loadu_si512(tilesOfB + tileHalves + p * 2 * tileSide));
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
          std::int32_t word;
          std::memcpy(&word, rowsOfA + r * tileDepth + 2 * p, sizeof word);
          const auto pair = reinterpret_cast<__m512bh>(_mm512_set1_epi32(word));
          sums[r][0] = _mm512_dpbf16_ps(sums[r][0], pair, left);
          sums[r][1] = _mm512_dpbf16_ps(sums[r][1], pair, right);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
      for (int t = 0; t < 2; ++t) _mm512_storeu_ps(c + r * ld + t * tileSide, sums[r][t]);
  }
}

__attribute__((target("amx-tile,amx-bf16"))) void multiplyAmx(const std::uint16_t* a, const std::uint16_t* b,
                                                              std::int64_t steps, float* c, std::int64_t ld,
                                                              bool fresh) {
  const std::int64_t stride = ld * 4;
  if (fresh) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, c, stride);
    _tile_loadd(1, c + tileSide, stride);
    _tile_loadd(2, c + tileSide * ld, stride);
    _tile_loadd(3, c + tileSide * ld + tileSide, stride);
  }
  for (std::int64_t step = 0; step < steps; ++step, a += panelHalves, b += panelHalves) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + tileHalves, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + tileHalves, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, stride);
  _tile_stored(1, c + tileSide, stride);
  _tile_stored(2, c + tileSide * ld, stride);
  _tile_stored(3, c + tileSide * ld + tileSide, stride);
}

struct alignas(64) Configuration {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

__attribute__((target("amx-tile"))) void configure() {
  static constexpr Configuration configuration;  // static, since GCC believes that eight bytes of it are read
  _tile_loadconfig(&configuration);
}
__attribute__((target("amx-tile"))) void release() { _tile_release(); }

#else

void configure() {}
void release() {}

#endif

}  // namespace

MultiplyTiles multiplyTiles(BrainUnit unit) {
#if defined(LAZY_BRAIN_UNITS)
  if (unit == BrainUnit::tiles) return multiplyAmx;
  if (unit == BrainUnit::dots) return multiplyDots;
#endif
  static_cast<void>(unit);
  return multiplyVectors;
}

TileScope::TileScope(BrainUnit unit) : unit_(unit) {
  if (unit_ == BrainUnit::tiles) configure();
}
TileScope::~TileScope() {
  if (unit_ == BrainUnit::tiles) release();
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
