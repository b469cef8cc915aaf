// Products of many rows with packed weights on AMX tiles, where the processor has them (packed_panels.h serves the others). Codes are
// exact in bf16, and so are activations as the sum of three bf16 numbers: 8 + 8 + 8 bits, as many as f32 has. So three tile products,
// added up in f32, are the product in f32, at a fifth of the time. A block of 32 columns is the depth of a tile; its scales and
// offsets are applied to the tile's sums. A block of two parts is a tile for each, with zeros where the other is.
// Tiles: 32 rows of A, 2 groups of B's rows, 4 of sums. A is split once, by all threads. Measurements: docs/kernels/cpu.md.
#include "brain_tiles.h"
#include "packed.h"

#if defined(__AVX512F__) && defined(__x86_64__)
#define LAZY_TILES 1
#include <immintrin.h>
#endif

#include <algorithm>

namespace lazy_cpu {
namespace LAZY_ISA {

#if defined(LAZY_TILES)

namespace {

constexpr int tile = 16, pieces = 3, rowsAtOnce = 2 * tile;
// Of A, for 16 rows and a block: the pieces as tiles, and the rows' sums over each of at most two parts.
constexpr std::int64_t tileShorts = tile * packedColumns, splitFloats = pieces * tileShorts / 2 + 2 * tile;

// 16 rows of A, of which `rows` are there, and one block of columns.
void split(const float* a, std::int64_t k, std::int64_t rows, int parts, float* to) {
  auto* const shorts = reinterpret_cast<std::uint16_t*>(to);
  float* const sums = to + pieces * tileShorts / 2;
  for (int r = 0; r < tile; ++r) {
    Vector sum = {};
    for (int p = 0; p < packedColumns; p += lanes) {
      Vector rest = r < rows ? load(a + r * k + p) : Vector{};
      sum += rest;
      if (parts == 2) {
        sums[p / lanes * tile + r] = sumOf(rest);
        static_assert(lanes == packedColumns / 2);
      }
      for (int piece = 0; piece < pieces; ++piece) {
        const Unsigned part = rounded(rest);
        const Halves narrow = __builtin_convertvector(part >> 16, Halves);
        std::memcpy(shorts + piece * tileShorts + r * packedColumns + p, &narrow, sizeof narrow);
        rest -= reinterpret_cast<Vector>(part);
      }
    }
    if (parts == 1) sums[r] = sumOf(sum);
  }
}

// A block of codes as a tile: row p has columns 2p and 2p + 1 of each of the 16 rows of B. Of two parts, each in a tile of its own.
template <class Format>
LAZY_INLINE void codesOf(const std::uint32_t* block, std::uint32_t* to) {
  constexpr int rowsOfPart = tile / Format::parts;
  if constexpr (Format::parts == 2) std::memset(to, 0, 2 * tile * tile * sizeof *to);
  constexpr int loads = Format::columns == 1 ? 2 : 1, columns = loads * Format::columns;
  for (int i = 0; i < packedColumns / columns; ++i) {
#pragma GCC unroll 4
    for (int c = 0; c < columns; c += 2) {
      const auto first = Format::load(block, 0, i * loads), second = Format::load(block, 0, i * loads + loads - 1);
      const Unsigned even = reinterpret_cast<Unsigned>(Format::code(first, c % Format::columns));
      const Unsigned odd = reinterpret_cast<Unsigned>(Format::code(second, (c + 1) % Format::columns));
      const Unsigned both = even >> 16 | (odd & 0xffff0000u);
      const int row = (i * columns + c) / 2;
      std::memcpy(to + (row / rowsOfPart * tile + row) * tile, &both, sizeof both);
    }
  }
}

// What a group of B's rows is for all parts of blocks: tiles, scales and offsets.
struct Group {
  const std::uint32_t* codes;
  const float *scales, *offsets;
};

// sums [32][2][16] (+)= blocks of A, `apart` floats between those of its two tiles, times the groups.
template <int parts>
__attribute__((target("amx-tile,amx-bf16"))) void multiply(const float* a, std::int64_t apart, std::int64_t blocks,
                                                           const Group (&b)[2], float* sums) {
  alignas(64) float products[4][tile * tile];
  for (std::int64_t block = 0; block < blocks * parts; ++block, a += block % parts == 0 ? splitFloats : 0) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, b[0].codes + block * tile * tile, 64);
    _tile_loadd(5, b[1].codes + block * tile * tile, 64);
    for (int piece = pieces - 1; piece >= 0; --piece) {  // the small ones first
      _tile_loadd(6, a + piece * tileShorts / 2, 64);
      _tile_loadd(7, a + apart + piece * tileShorts / 2, 64);
      _tile_dpbf16ps(0, 6, 4);
      _tile_dpbf16ps(1, 6, 5);
      _tile_dpbf16ps(2, 7, 4);
      _tile_dpbf16ps(3, 7, 5);
    }
    _tile_stored(0, products[0], 64);
    _tile_stored(1, products[1], 64);
    _tile_stored(2, products[2], 64);
    _tile_stored(3, products[3], 64);
    for (int g = 0; g < 2; ++g) {
      const Vector scale = load(b[g].scales + block * tile), offset = load(b[g].offsets + block * tile);
      for (int half = 0; half < 2; ++half) {
        const float* const rowSums = a + half * apart + pieces * tileShorts / 2 + block % parts * tile;
#pragma GCC unroll 8
        for (int r = 0; r < tile; ++r) {
          float* const to = sums + ((half * tile + r) * 2 + g) * tile;
          store(to, load(to) + scale * load(products[half * 2 + g] + r * tile) + offset * splat(rowSums[r]));
        }
      }
    }
  }
}

// Floats of room for a group of so many parts of blocks: tiles, scales, offsets.
std::int64_t groupFloats(std::int64_t count) { return count * (tile * tile + 2 * tile); }

template <class Format>
Group prepare(const ops::Matmul& op, std::int64_t group, float* room) {
  constexpr int parts = Format::parts;
  const std::int64_t blocks = op.k / packedColumns;
  float* const scales = room + blocks * parts * tile * tile;
  float* const offsets = scales + blocks * parts * tile;
  const std::uint32_t* block = static_cast<const std::uint32_t*>(op.b.data) + group * blocks * Format::words;
  for (std::int64_t i = 0; i < blocks; ++i, block += Format::words) {
    codesOf<Format>(block, reinterpret_cast<std::uint32_t*>(room) + i * parts * tile * tile);
    for (int part = 0; part < parts; ++part) {
      const Vector scale = scaleOf<Format>(block, 0, part);
      store(scales + (i * parts + part) * tile, scale);
      store(offsets + (i * parts + part) * tile, offsetOf<Format>(block, 0, part) + scale * splat(Format::centre));
    }
  }
  return {reinterpret_cast<const std::uint32_t*>(room), scales, offsets};
}

// Columns of the product of two groups, the second perhaps the first again and not wanted.
template <class Format>
__attribute__((target("amx-tile,amx-bf16"))) void columns(const ops::Matmul& op, std::int64_t first, int wanted,
                                                          const float* a, float* room) {
  const std::int64_t blocks = op.k / packedColumns, apart = blocks * splitFloats;
  const Group one = prepare<Format>(op, first, room);
  const Group groups[2] = {
      one, wanted == 2 ? prepare<Format>(op, first + 1, room + groupFloats(blocks * Format::parts)) : one};
  const TileScope scope(BrainUnit::tiles);
  alignas(64) float sums[rowsAtOnce * 2 * tile];
  for (std::int64_t row = 0; row < op.m; row += rowsAtOnce) {
    std::fill(std::begin(sums), std::end(sums), 0.0f);
    multiply<Format::parts>(a + row / tile * apart, apart, blocks, groups, sums);
    for (std::int64_t r = row; r < std::min(op.m, row + rowsAtOnce); ++r)
      for (int g = 0; g < wanted; ++g) {
        float* const to = floats(op.out) + r * op.n + (first + g) * tile;
        const Vector sum = load(sums + ((r - row) * 2 + g) * tile);
        store(to, op.accumulate ? load(to) + sum : sum);
      }
  }
}

int partsOf(const ops::Tensor& b) {
  return withFormat(b, [](auto format) { return decltype(format)::parts; });
}

std::int64_t tilesOf(const ops::Matmul& op) { return (op.m + rowsAtOnce - 1) / rowsAtOnce * 2; }

}  // namespace

bool tilesTake(const ops::Matmul& op, BrainUnit unit) {
  return unit == BrainUnit::tiles && lanes == tile && isPacked(op.b) && op.m > mostRows &&
         2 * groupFloats(op.k / packedColumns * partsOf(op.b)) <= std::int64_t{packFloats};
}

std::size_t tilesWorkspace(const ops::Matmul& op) {
  return static_cast<std::size_t>(tilesOf(op) * (op.k / packedColumns) * splitFloats) * sizeof(float);
}

void matmulTiles(const ops::Matmul& op, Runtime& runtime, float* workspace) {
  const std::int64_t blocks = op.k / packedColumns, groups = op.n / packedRows;
  const int parts = partsOf(op.b);
  runtime.pool.run(tilesOf(op), [&](std::int64_t item, int) {
    const std::int64_t rows = std::clamp<std::int64_t>(op.m - item * tile, 0, tile);
    for (std::int64_t block = 0; block < blocks; ++block)
      split(floats(op.a) + item * tile * op.k + block * packedColumns, op.k, rows, parts,
            workspace + (item * blocks + block) * splitFloats);
  });
  runtime.pool.run((groups + 1) / 2, [&](std::int64_t item, int thread) {
    const int wanted = static_cast<int>(std::min<std::int64_t>(2, groups - 2 * item));
    withFormat(op.b,
               [&](auto format) { columns<decltype(format)>(op, 2 * item, wanted, workspace, runtime.pack(thread)); });
  });
}

#else

bool tilesTake(const ops::Matmul&, BrainUnit) { return false; }
std::size_t tilesWorkspace(const ops::Matmul&) { return 0; }
void matmulTiles(const ops::Matmul&, Runtime&, float*) {}

#endif

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
