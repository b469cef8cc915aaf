// Matrix products: C[m, n] (+)= op(A) . op(B) for every layout, batched.
//
// Algorithm: Goto's. Blocks of blockSteps x blockColumns of B are packed into panels (pack.h) that stay in the second cache, one
// panel in the first; micro.h runs down the rows of A. A is read in place, except where it is transposed or its rows are so far
// apart that their lines share a cache set: then a block of it is copied. Tasks are parts of C that need nothing of each other.
// - A B of moderate size is packed once, by all threads, before the tasks begin.
// - Few outputs and long sums (weight gradients): the sum is cut instead, and its parts are added in order.
// The cut follows from the problem and the thread count, so results repeat bit for bit. Measurements: docs/kernels/cpu.md.
#include <algorithm>

#include "brain.h"
#include "pack.h"
#include "packed_panels.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t blockSteps = 256;                       // of k: one panel of B is 32 KiB with AVX-512
constexpr std::int64_t blockColumns = 8 * tileColumns;         // of n
constexpr std::int64_t blockRows = 128 / tileRows * tileRows;  // of m: a copy of A is 136 KiB
constexpr std::int64_t sharedLimit = std::int64_t{4} << 20;    // floats of B packed at once
static_assert(blockSteps * blockColumns + blockRows * (blockSteps + 16) <= std::int64_t{packFloats});

struct View {  // element (i, j) at data[i * rows + j * columns]
  const float* data;
  std::int64_t rows, columns;
};

struct Problem {
  View a, b;
  float* c;
  std::int64_t ldc;
  bool accumulate;
  const ops::Tensor* packed;  // B where its weights are packed, whose columns begin at `column`; else nullptr
  std::int64_t depth, column;
};

// C[rows, columns] of one panel of B, `columns` <= tileColumns.
void panel(std::int64_t rows, std::int64_t columns, std::int64_t k, const View& a, const float* b, float* c,
           std::int64_t ldc, bool accumulate) {
  float edge[tileRows * tileColumns];
  for (std::int64_t i = 0; i < rows; i += tileRows) {
    const int count = static_cast<int>(std::min<std::int64_t>(tileRows, rows - i));
    const float* row = a.data + i * a.rows;
    float* out = c + i * ldc;
    if (columns == tileColumns) {
      microRows(count, k, row, a.rows, a.columns, b, tileColumns, out, ldc, accumulate);
      continue;
    }
    microRows(count, k, row, a.rows, a.columns, b, tileColumns, edge, tileColumns, false);
    for (int r = 0; r < count; ++r)
      for (std::int64_t j = 0; j < columns; ++j)
        out[r * ldc + j] = edge[r * tileColumns + j] + (accumulate ? out[r * ldc + j] : 0.0f);
  }
}

// Rows 4 KiB apart share one set of a typical L1, and tileRows of them plus a panel do not fit it. A transposed A is read
// across its rows, a line at a time, which no prefetcher follows.
bool wantsCopy(const View& a) { return a.columns == 1 ? a.rows % 1024 == 0 : true; }

// From one panel of a copied transposed A to the next: a line more than the panel, so that they do not share cache sets.
constexpr std::int64_t panelStride(std::int64_t k) { return k * tileRows + 16; }

// [rows, k] of A, in rows or, when A is transposed, in panels of tileRows.
void copyA(const View& a, std::int64_t rows, std::int64_t k, float* to) {
  if (a.columns == 1) {
    for (std::int64_t i = 0; i < rows; ++i) std::copy_n(a.data + i * a.rows, k, to + i * (blockSteps + 16));
    return;
  }
  const std::int64_t whole = rows / tileRows * tileRows;
  for (std::int64_t p = 0; p < k; ++p) {
    const float* from = a.data + p * a.columns;
    float* out = to + p * tileRows;
    for (std::int64_t i = 0; i < whole; i += tileRows, out += panelStride(k)) std::memcpy(out, from + i, tileRows * 4);
    std::copy_n(from + whole, rows - whole, out);
  }
}

// One task: C[rows, columns] over k, with packing room `pack`. `shared` is B packed before: [block of k][panel][k][...],
// of which the task's first panel is `firstPanel` of `panels`.
void task(const Problem& x, std::int64_t rows, std::int64_t columns, std::int64_t k, const float* shared,
          std::int64_t firstPanel, std::int64_t panels, float* pack) {
  float* packedA = pack + blockSteps * blockColumns;
  const bool copies = wantsCopy(x.a);
  for (std::int64_t p = 0; p < k; p += blockSteps) {
    const std::int64_t steps = std::min(blockSteps, k - p);
    const bool accumulate = x.accumulate || p > 0;
    // Nothing to pack: all columns at once, so that A is copied once.
    const std::int64_t wide = shared == nullptr ? blockColumns : columns;
    for (std::int64_t j = 0; j < columns; j += wide) {
      const std::int64_t width = std::min(wide, columns - j);
      const float* b = pack;
      if (shared != nullptr) {
        b = shared + panels * tileColumns * p + (firstPanel + j / tileColumns) * tileColumns * steps;
      } else if (x.packed != nullptr) {
        unpackPanels(*x.packed, x.depth, p, steps, x.column + j, width, pack);
      } else if (x.b.columns == 1) {
        packRows(x.b.data + p * x.b.rows + j, x.b.rows, steps, width, pack);
      } else {
        packColumns(x.b.data + p + j * x.b.columns, x.b.columns, steps, width, pack);
      }
      for (std::int64_t i = 0; i < rows; i += blockRows) {
        const std::int64_t height = std::min(blockRows, rows - i);
        const View a{x.a.data + i * x.a.rows + p * x.a.columns, x.a.rows, x.a.columns};
        if (copies) copyA(a, height, steps, packedA);
        for (std::int64_t jj = 0; jj < width; jj += tileColumns) {
          const std::int64_t thin = std::min<std::int64_t>(tileColumns, width - jj);
          const float* panelB = b + jj * steps;
          float* c = x.c + i * x.ldc + j + jj;
          if (!copies) {
            panel(height, thin, steps, a, panelB, c, x.ldc, accumulate);
          } else if (a.columns == 1) {
            panel(height, thin, steps, {packedA, blockSteps + 16, 1}, panelB, c, x.ldc, accumulate);
          } else {
            for (std::int64_t r = 0; r < height; r += tileRows)
              panel(std::min<std::int64_t>(tileRows, height - r), thin, steps,
                    {packedA + r / tileRows * panelStride(steps), 1, tileRows}, panelB, c + r * x.ldc, x.ldc,
                    accumulate);
          }
        }
      }
    }
  }
}

// How the work is cut. Depends on the problem and the thread count alone.
struct Partition {
  std::int64_t rows, columns;  // of a task
  std::int64_t rowTasks, columnTasks;
  std::int64_t parts;  // of the sum over k
  bool shares;         // packs all of B first
};

Partition partitionOf(const ops::Matmul& op, int threads) {
  Partition cut{op.m, op.n, 1, 1, 1, false};
  const double work = static_cast<double>(op.m) * static_cast<double>(op.n) * static_cast<double>(op.k);
  // About a tenth of a millisecond is worth a task of its own. Four per thread even out what other programs take.
  const auto wanted = static_cast<std::int64_t>(
      std::min(work / 4e6, threads == 1 ? 1.0 : 4.0 * threads / static_cast<double>(op.batch)));
  if (wanted <= 1) return cut;
  if (!isPacked(op.b) && op.k >= 4 * std::max(op.m, op.n) && op.m * op.n <= (1 << 18)) {
    cut.parts = std::min<std::int64_t>({wanted, 2 * threads, op.k / blockSteps});
    if (cut.parts > 1) return cut;
    cut.parts = 1;
  }
  // Tall tasks reuse a packed B longest; columns are cut only when there are too few rows.
  cut.rowTasks = std::min(wanted, std::max<std::int64_t>(1, op.m / 64));
  cut.rows = roundUp((op.m + cut.rowTasks - 1) / cut.rowTasks, tileRows);
  cut.rowTasks = (op.m + cut.rows - 1) / cut.rows;
  cut.columnTasks = std::min((wanted + cut.rowTasks - 1) / cut.rowTasks, panelsOf(op.n));
  cut.columns = roundUp((op.n + cut.columnTasks - 1) / cut.columnTasks, tileColumns);
  cut.columnTasks = (op.n + cut.columns - 1) / cut.columns;
  cut.shares = cut.rowTasks > 1 && op.batch == 1 && panelsOf(op.n) * tileColumns * op.k <= sharedLimit;
  return cut;
}

std::int64_t sharedFloats(const ops::Matmul& op) { return panelsOf(op.n) * tileColumns * op.k; }

// All of B into panels: [block of k][panel][k][tileColumns].
void packAll(const Problem& x, std::int64_t n, std::int64_t k, float* to, ThreadPool& pool) {
  const View& b = x.b;
  const std::int64_t panels = panelsOf(n), blocks = (k + blockSteps - 1) / blockSteps;
  pool.run(panels * blocks, [&](std::int64_t item, int) {
    const std::int64_t p = item / panels * blockSteps, j = item % panels * tileColumns;
    const std::int64_t steps = std::min(blockSteps, k - p), width = std::min<std::int64_t>(tileColumns, n - j);
    float* out = to + panels * tileColumns * p + j * steps;
    if (x.packed != nullptr) {
      unpackPanels(*x.packed, k, p, steps, j, width, out);
    } else if (b.columns == 1) {
      packRows(b.data + p * b.rows + j, b.rows, steps, width, out);
    } else {
      packColumns(b.data + p + j * b.columns, b.columns, steps, width, out);
    }
  });
}

void sumParts(const ops::Matmul& op, std::int64_t parts, const float* partials, ThreadPool& pool) {
  const std::int64_t size = op.m * op.n;
  for (std::int64_t batch = 0; batch < op.batch; ++batch) {
    float* out = floats(op.out) + batch * size;
    const float* from = partials + batch * parts * size;
    pool.ranges(size, 8192, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        float total = op.accumulate ? out[i] : 0.0f;
        for (std::int64_t part = 0; part < parts; ++part) total += from[part * size + i];
        out[i] = total;
      }
    });
  }
}

}  // namespace

std::size_t matmulWorkspace(const ops::Matmul& op, const Machine& machine) {
  if (isBrain(op.a)) return brainWorkspace(op, machine.threads);
  if (tilesTake(op, machine.unit)) return tilesWorkspace(op);
  const Partition cut = partitionOf(op, machine.threads);
  if (cut.parts > 1) return static_cast<std::size_t>(op.batch * cut.parts * op.m * op.n) * sizeof(float);
  return cut.shares ? static_cast<std::size_t>(sharedFloats(op)) * sizeof(float) : 0;
}

void matmul(const ops::Matmul& op, Runtime& runtime, void* scratch) {
  auto* const workspace = static_cast<float*>(scratch);
  if (isBrain(op.a)) return matmulBrain(op, runtime, workspace);
  if (matmulThin(&op, 1, runtime)) return;
  if (tilesTake(op, runtime.machine.unit)) return matmulTiles(op, runtime, workspace);
  const Partition cut = partitionOf(op, runtime.pool.threads());
  const auto viewOf = [](const ops::Tensor& x, std::int64_t offset, bool transposed, std::int64_t rows,
                         std::int64_t columns) {
    return transposed ? View{floats(x) + offset, 1, rows} : View{floats(x) + offset, columns, 1};
  };
  const auto problemOf = [&](std::int64_t batch) {
    return Problem{viewOf(op.a, batch * op.m * op.k, op.transposeA, op.m, op.k),
                   viewOf(op.b, batch * op.k * op.n, op.transposeB, op.k, op.n),
                   floats(op.out) + batch * op.m * op.n,
                   op.n,
                   op.accumulate,
                   isPacked(op.b) ? &op.b : nullptr,
                   op.k,
                   0};
  };
  if (cut.parts > 1) {
    const std::int64_t steps = roundUp((op.k + cut.parts - 1) / cut.parts, lanes);
    runtime.pool.run(op.batch * cut.parts, [&](std::int64_t item, int thread) {
      const std::int64_t part = item % cut.parts, first = std::min(part * steps, op.k);
      Problem x = problemOf(item / cut.parts);
      x.a.data += first * x.a.columns;
      x.b.data += first * x.b.rows;
      x.c = workspace + item * op.m * op.n;
      x.accumulate = false;
      if (first == op.k) std::fill_n(x.c, op.m * op.n, 0.0f);
      task(x, op.m, op.n, std::min(steps, op.k - first), nullptr, 0, 0, runtime.pack(thread));
    });
    sumParts(op, cut.parts, workspace, runtime.pool);
    return;
  }
  const float* shared = nullptr;
  if (cut.shares) {
    packAll(problemOf(0), op.n, op.k, workspace, runtime.pool);
    shared = workspace;
  }
  const std::int64_t tasks = cut.rowTasks * cut.columnTasks;
  runtime.pool.run(op.batch * tasks, [&](std::int64_t item, int thread) {
    Problem x = problemOf(item / tasks);
    const std::int64_t row = item % tasks / cut.columnTasks * cut.rows;
    const std::int64_t column = item % cut.columnTasks * cut.columns;
    x.a.data += row * x.a.rows;
    x.b.data += column * x.b.columns;
    x.column = column;
    x.c += row * x.ldc + column;
    task(x, std::min(cut.rows, op.m - row), std::min(cut.columns, op.n - column), op.k, shared, column / tileColumns,
         panelsOf(op.n), runtime.pack(thread));
  });
}

void matmuls(const ops::Matmul* products, int count, Runtime& runtime, void* workspace) {
  if (!isBrain(products->a) && matmulThin(products, count, runtime)) return;
  for (int i = 0; i < count; ++i) matmul(products[i], runtime, workspace);
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
