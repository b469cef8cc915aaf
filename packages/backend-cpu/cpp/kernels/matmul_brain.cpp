// Matrix products of bf16, C (+)= op(A) . op(B), sums in f32, rounded once to the bf16 of C.
//
// The smaller operand is packed whole into panels of tiles (brain_tiles.h), by all threads. The larger one is cut into tasks of a few
// panels, each packed by who takes it, and met with all panels of the first that fit its sums. Sums run over k in one fixed order
// whatever the cut, so results depend neither on threads nor on tasks. Rows, columns and k are filled up with zeros.
// Two tiles by two use all eight registers of AMX; `inner` steps of a panel of the first stay in the first cache meanwhile.
#include <algorithm>

#include "brain_pack.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t inner = 8, chunk = 64;            // steps of tileDepth: in the first cache, packed at a time
constexpr std::int64_t mostPanels = 4, keptAtOnce = 32;  // of a task
constexpr std::int64_t panelBytes = panelHalves * 2, blockBytes = blockSums * 4;
static_assert(mostPanels * (chunk * panelBytes + keptAtOnce * blockBytes) <= std::int64_t{packFloats} * 4);

std::int64_t ceilOf(std::int64_t n, std::int64_t part) { return (n + part - 1) / part; }

Lines rowsOf(const ops::Matmul& op, std::int64_t batch) {
  const auto* data = static_cast<const std::uint16_t*>(op.a.data) + batch * op.m * op.k;
  return op.transposeA ? Lines{data, 1, op.m, op.m, false} : Lines{data, op.k, 1, op.m, false};
}
Lines columnsOf(const ops::Matmul& op, std::int64_t batch) {
  const auto* data = static_cast<const std::uint16_t*>(op.b.data) + batch * op.k * op.n;
  return op.transposeB ? Lines{data, op.k, 1, op.n, true} : Lines{data, 1, op.n, op.n, true};
}

// How the work is cut.
struct Cut {
  Cut(const ops::Matmul& op, int threads)
      : keepsColumns(op.n <= op.m),
        keptPanels(ceilOf(std::min(op.m, op.n), blockSide)),
        cutPanels(ceilOf(std::max(op.m, op.n), blockSide)),
        steps(std::max<std::int64_t>(1, ceilOf(op.k, tileDepth))),
        ranges(ceilOf(keptPanels, keptAtOnce)) {
    // Four tasks per thread even out what other programs take.
    while (panels > 1 && op.batch * ranges * ceilOf(cutPanels, panels) < 4 * threads) panels /= 2;
    tasks = ranges * ceilOf(cutPanels, panels);
  }

  bool keepsColumns;
  std::int64_t keptPanels, cutPanels, steps, ranges, panels = mostPanels, tasks = 0;

  std::int64_t keptHalves() const { return keptPanels * steps * panelHalves; }
};

// C (+)= a block of sums, whose first entry is (row, column).
void writeBlock(const ops::Matmul& op, std::int64_t batch, std::int64_t row, std::int64_t column, const float* sums) {
  const std::int64_t width = std::min(blockSide, op.n - column), height = std::min(blockSide, op.m - row);
  Brain* out = elements<Brain>(op.out) + (batch * op.m + row) * op.n + column;
  for (std::int64_t r = 0; r < height; ++r, out += op.n, sums += blockSide)
    for (std::int64_t j = 0; j < width; j += lanes) {
      const Vector sum = load(sums + j);
      if (width - j >= lanes) {
        store(out + j, op.accumulate ? load(out + j) + sum : sum);
      } else {
        storeSome(out + j, op.accumulate ? loadSome(out + j, width - j) + sum : sum, width - j);
      }
    }
}

// One task of a batch entry: panels of the cut operand times a range of the kept one's.
void multiplyTask(const ops::Matmul& op, const Cut& cut, std::int64_t batch, std::int64_t task, MultiplyTiles multiply,
                  const std::uint16_t* kept, float* room) {
  const Lines lines = cut.keepsColumns ? rowsOf(op, batch) : columnsOf(op, batch);
  const std::int64_t first = task / cut.ranges * cut.panels, panels = std::min(cut.panels, cut.cutPanels - first);
  const std::int64_t from = task % cut.ranges * keptAtOnce, to = std::min(cut.keptPanels, from + keptAtOnce);
  auto* const packed = reinterpret_cast<std::uint16_t*>(room);
  float* const sums = room + mostPanels * chunk * panelBytes / 4;
  const bool whole = cut.steps <= chunk;
  for (std::int64_t begin = 0; begin < cut.steps; begin += chunk) {
    const std::int64_t end = std::min(cut.steps, begin + chunk), depth = end - begin;
    for (std::int64_t i = 0; i < panels; ++i)
      packPanel(lines, (first + i) * blockSide, op.k, begin, end, packed + i * depth * panelHalves);
    for (std::int64_t panel = from; panel < to; ++panel) {
      float* const blocks = sums + (whole ? 0 : (panel - from) * mostPanels * blockSums);
      for (std::int64_t step = begin; step < end; step += inner) {
        const std::int64_t count = std::min(inner, end - step);
        const std::uint16_t* y = kept + (panel * cut.steps + step) * panelHalves;
        for (std::int64_t i = 0; i < panels; ++i) {
          const std::uint16_t* x = packed + (i * depth + step - begin) * panelHalves;
          multiply(cut.keepsColumns ? x : y, cut.keepsColumns ? y : x, count, blocks + i * blockSums, blockSide,
                   step == 0);
        }
      }
      if (end < cut.steps) continue;
      for (std::int64_t i = 0; i < panels; ++i) {
        const std::int64_t one = (first + i) * blockSide, other = panel * blockSide;
        writeBlock(op, batch, cut.keepsColumns ? one : other, cut.keepsColumns ? other : one, blocks + i * blockSums);
      }
    }
  }
}

}  // namespace

std::size_t brainWorkspace(const ops::Matmul& op, int threads) {
  return static_cast<std::size_t>(op.batch * Cut(op, threads).keptHalves()) * 2;
}

void matmulBrain(const ops::Matmul& op, Runtime& runtime, void* workspace) {
  const Cut cut(op, runtime.pool.threads());
  const MultiplyTiles multiply = multiplyTiles(runtime.machine.unit);
  auto* const kept = static_cast<std::uint16_t*>(workspace);
  runtime.pool.run(op.batch * cut.keptPanels, [&](std::int64_t item, int) {
    const std::int64_t batch = item / cut.keptPanels, panel = item % cut.keptPanels;
    packPanel(cut.keepsColumns ? columnsOf(op, batch) : rowsOf(op, batch), panel * blockSide, op.k, 0, cut.steps,
              kept + item * cut.steps * panelHalves);
  });
  runtime.pool.run(op.batch * cut.tasks, [&](std::int64_t item, int thread) {
    const TileScope scope(runtime.machine.unit);
    const std::int64_t batch = item / cut.tasks;
    multiplyTask(op, cut, batch, item % cut.tasks, multiply, kept + batch * cut.keptHalves(), runtime.pack(thread));
  });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
