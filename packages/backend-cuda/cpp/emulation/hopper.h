// gpu/hopper.h on the host.
#pragma once

#include <utility>

#include "gpu/hopper.h"
#include "lazy_native/errors.h"

namespace gpu {

struct TensorMap {
  const std::byte* data;
  std::int64_t dims[4], strides[4];  // innermost first, strides in bytes
  int boxRows;
};

inline TensorMap tensorMap(const HeadRows& t, int rows) {
  const std::int64_t row = t.heads * t.dim * 2;
  const auto address = reinterpret_cast<std::uintptr_t>(t.data);
  if (address % 16 != 0 || t.dim % 8 != 0 || rows < 1 || rows > 256) {
    throw lazy_native::Unsupported("internal: a tensor map of rows that do not begin at multiples of 16 bytes");
  }
  return {static_cast<const std::byte*>(t.data),
          {t.dim, t.heads, t.rows, t.batch},
          {2, t.dim * 2, row, t.capacity * row},
          rows};
}

// ---- barriers ----
using Phases = Shared<std::uint64_t>;

inline void initPhases(Phases at, int arrivals) { emulation::machine().initPhases(at.offset(), arrivals); }
inline void phasesReady() { emulation::machine().phasesReady(); }
inline void arrive(Phases at) { emulation::machine().arrive(at.offset(), 0); }
inline void arriveExpecting(Phases at, int bytes) {
  emulation::machine().arrive(at.offset(), static_cast<std::size_t>(bytes));
}
inline void awaitPhase(Phases at, int parity, int line = __builtin_LINE()) {
  emulation::machine().awaitPhase(at.offset(), parity, line);
}
inline void awaitTurnInline(const int* turn, int value) { awaitTurn(turn, value); }
inline void proxyFence() { emulation::machine().proxyFence(); }
template <int id, int threads>
void namedBarrier(int line = __builtin_LINE()) {
  emulation::machine().namedBarrier(id, threads, line);
}
template <int count>
void keepRegisters() {
  emulation::machine().setRegisters(count);
}
template <int count>
void takeRegisters() {
  emulation::machine().setRegisters(count);
}

// ---- copies of tiles ----
// Where a byte of a tile lies: bits 4..6 of its address are changed by bits 7..9.
inline std::size_t swizzled(std::size_t address) { return address ^ ((address >> 3) & 0x70); }

template <class T>
void copyTile(Shared<T> to, const TensorMap& map, int column, int head, int row, int batch, Phases at) {
  const std::size_t offset = to.offset(), bytes = static_cast<std::size_t>(map.boxRows) * panelRowBytes;
  const auto land = [=](std::byte* tile) {
    for (int r = 0; r < map.boxRows; ++r) {
      for (int unit = 0; unit < panelRowBytes / 2; ++unit) {
        const std::int64_t place[4] = {column + unit, head, row + r, batch};
        bool inside = true;
        std::int64_t from = 0;
        for (int i = 0; i < 4; ++i) {
          inside = inside && place[i] >= 0 && place[i] < map.dims[i];
          from += place[i] * map.strides[i];
        }
        const std::size_t byte = static_cast<std::size_t>(r * panelRowBytes + unit * 2);
        std::byte* target = tile + swizzled(offset + byte) - offset;
        if (inside) {
          std::memcpy(target, map.data + from, 2);
        } else {
          std::memset(target, 0, 2);
        }
      }
    }
  };
  if (offset % 1024 != 0) return emulation::machine().report("copies a tile to where its swizzle does not begin");
  emulation::machine().copyTile(offset, bytes, land, at.offset());
}

template <class T>
void copyRow(Shared<T> to, const T* from, int count, Phases at) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0 || bytes % 16 != 0) {
    return emulation::machine().report("copies a row that is no multiple of 16 bytes");
  }
  emulation::machine().copyTile(
      to.offset(), bytes, [=](std::byte* row) { std::memcpy(row, from, bytes); }, at.offset());
}

// ---- products ----
// PTX ISA, "Matrix Descriptor Format": bits 0..13 address, 16..29 lead, 32..45 stride, in units of 16 bytes; 49..51 base offset;
// 62..63 swizzle, 1 for 128 bytes.
using Operand = std::uint64_t;
namespace detail {
inline std::uint64_t descriptorBits(std::size_t bytes) { return (bytes & 0x3ffff) >> 4; }
}  // namespace detail
template <class T>
Operand operandAt(Shared<T> at, int stride, int lead = 16) {
  return detail::descriptorBits(at.offset()) | detail::descriptorBits(static_cast<std::size_t>(lead)) << 16 |
         detail::descriptorBits(static_cast<std::size_t>(stride)) << 32 | std::uint64_t{1} << 62;
}

inline void fenceProducts() { emulation::machine().fenceProducts(); }
inline void commitProducts() { emulation::machine().commitProducts(); }
template <int groupsLeft, class... Registers>
void awaitProducts(Registers&...) {
  emulation::machine().awaitProducts(groupsLeft);
}

namespace detail {
struct GroupLane {
  float* d;
  const std::uint32_t* a;  // or nullptr: a tile
  Operand tileA, tileB;
  bool add;
};

// x[row][k] of a tile by its descriptor. Rows of 128 bytes in groups of 8, `stride` apart. As it lies, a row is a row of x and k
// goes along it; across, a row is a k, and x's rows go along it, in panels that are `lead` apart.
template <class T, int rows, bool across>
bool readTile(float (&x)[rows][16], Operand operand) {
  auto& machine = emulation::machine();
  const auto field = [&](int bit) { return static_cast<std::size_t>((operand >> bit & 0x3fff) << 4); };
  if (operand >> 62 != 1 || (operand >> 49 & 7) != 0) {
    machine.report("multiplies a tile of another swizzle than that of 128 bytes");
    return false;
  }
  const std::size_t start = field(0), lead = field(16), stride = field(32);
  for (int outer = 0; outer < (across ? 16 : rows); ++outer) {
    for (int unit = 0; unit < (across ? rows : 16) / 8; ++unit) {
      const auto o = static_cast<std::size_t>(outer), u = static_cast<std::size_t>(unit);
      const std::size_t along = across ? u / 8 * lead + u % 8 * 16 : u * 16;
      const std::byte* from = machine.operandRead(swizzled(start + o / 8 * stride + o % 8 * panelRowBytes + along));
      if (from == nullptr) return false;
      for (int e = 0; e < 8; ++e) {
        T value;
        std::memcpy(&value, from + 2 * e, 2);
        (across ? x[8 * unit + e][outer] : x[outer][8 * unit + e]) = toFloat(value);
      }
    }
  }
  return true;
}

// PTX ISA, "Register Fragments for wgmma": warp w of the four has rows 16 w.., as operands and accumulators of m16n8k16.
template <class T, int n, bool fromRegisters, bool acrossA, bool acrossB>
void groupProduct(void* const* arguments) {
  auto& machine = emulation::machine();
  if (!machine.productsAgree()) return;
  const auto lane = [&](int i) -> const GroupLane& { return *static_cast<const GroupLane*>(arguments[i]); };
  static thread_local float a[64][16], b[n][16], bTransposed[16][n], c[64][n];
  for (int i = 0; i < 128; ++i) {
    if (lane(i).tileB != lane(0).tileB || lane(i).tileA != lane(0).tileA || lane(i).add != lane(0).add) {
      return machine.report("divergent products: threads name different tiles");
    }
    const float* before = machine.inFlight(i, lane(i).d);
    for (int e = 0; e < n / 2; ++e) {
      c[i / 32 * 16 + i % 32 / 4 + 8 * (e / 2 % 2)][e / 4 * 8 + 2 * (i % 4) + e % 2] = lane(i).add ? before[e] : 0;
    }
    if (!fromRegisters) continue;
    for (int e = 0; e < 8; ++e) {
      const std::uint32_t pair = lane(i).a[e / 2];
      a[i / 32 * 16 + i % 32 / 4 + 8 * (e / 2 % 2)][2 * (i % 4) + 8 * (e / 4) + e % 2] = toFloat(half<T>(pair, e % 2));
    }
    machine.keepOperand(i, lane(i).a, 4);
  }
  if (!fromRegisters && !readTile<T, 64, acrossA>(a, lane(0).tileA)) return;
  if (!readTile<T, n, acrossB>(b, lane(0).tileB)) return;
  for (int j = 0; j < n; ++j) {
    for (int k = 0; k < 16; ++k) bTransposed[k][j] = b[j][k];
  }
  for (int i = 0; i < 64; ++i) {
    for (int k = 0; k < 16; ++k) {
      const float x = a[i][k];
      for (int j = 0; j < n; ++j) c[i][j] += x * bTransposed[k][j];
    }
  }
  machine.countProduct();
  for (int i = 0; i < 128; ++i) {
    std::vector<float> values(n / 2);
    for (int e = 0; e < n / 2; ++e) {
      values[static_cast<std::size_t>(e)] =
          c[i / 32 * 16 + i % 32 / 4 + 8 * (e / 2 % 2)][e / 4 * 8 + 2 * (i % 4) + e % 2];
    }
    machine.keepResult(i, lane(i).d, std::move(values));
  }
}
}  // namespace detail

// D: floats, n / 2 of them, of which four in a row are of 8 columns.
template <class T, bool acrossB, class D>
void multiply(D& d, const std::uint32_t (&a)[4], Operand b, bool add, int line = __builtin_LINE()) {
  detail::GroupLane self{reinterpret_cast<float*>(&d), a, 0, b, add};
  emulation::machine().groupCollective(&detail::groupProduct<T, sizeof(D) / 2, true, false, acrossB>, &self, line);
}
template <class T, bool acrossA, bool acrossB, class D>
void multiply(D& d, Operand a, Operand b, bool add, int line = __builtin_LINE()) {
  detail::GroupLane self{reinterpret_cast<float*>(&d), nullptr, a, b, add};
  emulation::machine().groupCollective(&detail::groupProduct<T, sizeof(D) / 2, false, acrossA, acrossB>, &self, line);
}

}  // namespace gpu
