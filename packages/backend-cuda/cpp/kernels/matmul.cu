// Matrix products, where cuBLASLt is absent: tensor cores for bf16 and f16, f32 arithmetic for f32. Any sizes and any
// transposition; f32 accumulation; partial sums never leave a block, so results repeat.
#include "kernels/common.h"
#include "kernels/tiles.h"

namespace gpu {

namespace {

struct Product {
  int m, n, k;
  std::int64_t aStride, bStride;  // between the rows of a and b as stored
  float keep;                     // 1 to add to what is there
};

// Row of blocks and column of blocks: bands of 8 rows share their columns of b in the second-level cache.
struct Place {
  int row, column;
};
__device__ __forceinline__ Place placeOf(int rows, int columns) {
  constexpr int band = 8;
  const int block = static_cast<int>(blockIdx.x), perBand = band * columns;
  const int firstRow = block / perBand * band, inBand = block % perBand;
  const int height = rows - firstRow < band ? rows - firstRow : band;
  return {firstRow + inBand % height, inBand / height};
}

// ---- tensor cores ----

constexpr int tileM = 128, tileN = 128, tileK = 64;
constexpr int warps = 8, threads = 32 * warps;  // 4 x 2 warps, each 32 x 64
constexpr int stages = 2;

// 64 columns of 128 rows: tileK is inner (k contiguous). Else two 64-wide halves of tileK rows each.
constexpr std::size_t operandBytes = static_cast<std::size_t>(tileM) * tileK * 2;
constexpr std::size_t tensorBytes = 2 * stages * operandBytes;

// Copies `tile` rows of m (or n) by tileK of k of an operand stored [mn, k], or [k, mn] when `transposed`.
// `aligned`: rows begin at multiples of 16 bytes; otherwise element by element.
template <class T, bool transposed>
__device__ __forceinline__ void fetchOperand(Shared<T> to, const T* from, std::int64_t stride, int mn, int k,
                                             int mnLimit, int kLimit, bool aligned) {
  constexpr int parts = transposed ? 2 : 1, rows = transposed ? tileK : tileM;
#pragma unroll
  for (int part = 0; part < parts; ++part) {
    const Tile<T, 64> tile{to + part * tileK * 64};
    const int firstRow = transposed ? k : mn, firstColumn = transposed ? mn + 64 * part : k;
    const int rowLimit = (transposed ? kLimit : mnLimit) - firstRow,
              width = (transposed ? mnLimit : kLimit) - firstColumn;
    const T* source = from + firstRow * stride + firstColumn;
    if (aligned) {
      tile.template copyFrom<rows, threads>(rowLimit > 0 && width > 0 ? source : from, stride, width > 0 ? rowLimit : 0,
                                            width);
    } else {
#pragma unroll 1
      for (int i = static_cast<int>(threadIdx.x); i < rows * 64; i += threads) {
        const int row = i / 64, column = i % 64;
        tile.unit(row, column / 8)[column % 8] =
            row < rowLimit && column < width ? source[row * stride + column] : fromFloat<T>(0.0f);
      }
    }
  }
}

template <class T, bool transposeA, bool transposeB>
__global__ void __launch_bounds__(threads, 2)
    tensorProductKernel(const T* a, const T* b, T* out, const __grid_constant__ Product z, bool alignedA,
                        bool alignedB) {
  const Place place = placeOf(ceilDiv(z.m, tileM), ceilDiv(z.n, tileN));
  const int row = place.row * tileM, column = place.column * tileN;
  const std::int64_t batch = blockIdx.z;
  a += batch * z.m * z.k;
  b += batch * z.k * z.n;
  out += batch * z.m * z.n;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warpRow = warp % 4 * 32, warpColumn = warp / 4 * 64;
  const auto stageA = [](int s) { return sharedMemory<T>(static_cast<unsigned>(s % stages) * operandBytes); };
  const auto stageB = [](int s) { return sharedMemory<T>(static_cast<unsigned>(stages + s % stages) * operandBytes); };
  const auto fetch = [&](int s) {
    fetchOperand<T, transposeA>(stageA(s), a, z.aStride, row, s * tileK, z.m, z.k, alignedA);
    fetchOperand<T, !transposeB>(stageB(s), b, z.bStride, column, s * tileK, z.n, z.k, alignedB);
    copyAsyncCommit();
  };
  float acc[2][8][4];
  clear(acc[0]);
  clear(acc[1]);
  const int steps = ceilDiv(z.k, tileK);
  fetch(0);
  for (int s = 0; s < steps; ++s) {
    copyAsyncWait<0>();
    __syncthreads();
    if (s + 1 < steps) fetch(s + 1);
    // Not unrolled: two blocks share a multiprocessor, which leaves 128 registers.
#pragma unroll 1
    for (int k = 0; k < tileK; k += 16) {
      std::uint32_t fa[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int r = warpRow + 16 * i;
        if constexpr (transposeA) {
          Tile<T, 64>{stageA(s) + r / 64 * tileK * 64}.loadATransposed(fa[i], k, r % 64);
        } else {
          Tile<T, 64>{stageA(s)}.loadA(fa[i], r, k);
        }
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        std::uint32_t fb[4];
        if constexpr (transposeB) {
          Tile<T, 64>{stageB(s)}.loadB(fb, warpColumn + 16 * j, k);
        } else {
          Tile<T, 64>{stageB(s) + warp / 4 * tileK * 64}.loadBTransposed(fb, k, 16 * j);
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          multiplyAdd<T>(acc[i][2 * j], fa[i], fb[0], fb[1]);
          multiplyAdd<T>(acc[i][2 * j + 1], fa[i], fb[2], fb[3]);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = row + warpRow + 16 * i + lane / 4 + 8 * (e / 2),
                  c = column + warpColumn + 8 * n + 2 * (lane % 4) + e % 2;
        if (r < z.m && c < z.n) {
          T& to = out[static_cast<std::int64_t>(r) * z.n + c];
          to = fromFloat<T>(acc[i][n][e] + (z.keep != 0 ? toFloat(to) : 0.0f));
        }
      }
    }
  }
}

// ---- f32 ----

constexpr int exactTile = 64, exactK = 16, exactThreads = 256;
constexpr int exactStride = exactTile + 4;

// A 64 x 64 tile; thread (y, x) of 16 x 16 computes rows 4y.. and columns 4x... Operands lie k-major in shared memory.
template <bool transposeA, bool transposeB>
__global__ void __launch_bounds__(exactThreads, 2)
    exactProductKernel(const float* a, const float* b, float* out, const __grid_constant__ Product z) {
  const Place place = placeOf(ceilDiv(z.m, exactTile), ceilDiv(z.n, exactTile));
  const int row = place.row * exactTile, column = place.column * exactTile;
  const std::int64_t batch = blockIdx.z;
  a += batch * z.m * z.k;
  b += batch * z.k * z.n;
  out += batch * z.m * z.n;
  const int y = static_cast<int>(threadIdx.x) / 16, x = static_cast<int>(threadIdx.x) % 16;
  const auto tileA = sharedMemory<float>(), tileB = sharedMemory<float>(exactK * exactStride * 4);
  // `inner`: memory runs along k. Neighbouring threads read neighbouring addresses either way.
  const auto fetch = [&](Shared<float> to, const float* from, std::int64_t stride, bool inner, int mn, int k,
                         int mnLimit) {
    for (int i = static_cast<int>(threadIdx.x); i < exactTile * exactK; i += exactThreads) {
      const int dk = inner ? i % exactK : i / exactTile, d = inner ? i / exactK : i % exactTile;
      const bool valid = mn + d < mnLimit && k + dk < z.k;
      const std::int64_t at = inner ? (mn + d) * stride + k + dk : (k + dk) * stride + mn + d;
      to[dk * exactStride + d] = valid ? from[at] : 0.0f;
    }
  };
  float acc[4][4];
  clear(acc);
  for (int k = 0; k < z.k; k += exactK) {
    __syncthreads();
    fetch(tileA, a, z.aStride, !transposeA, row, k, z.m);
    fetch(tileB, b, z.bStride, transposeB, column, k, z.n);
    __syncthreads();
#pragma unroll
    for (int dk = 0; dk < exactK; ++dk) {
      const float4 va = sharedCast<float4>(tileA + dk * exactStride)[y],
                   vb = sharedCast<float4>(tileB + dk * exactStride)[x];
      const float ra[4] = {va.x, va.y, va.z, va.w}, rb[4] = {vb.x, vb.y, vb.z, vb.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) acc[i][j] += ra[i] * rb[j];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int r = row + 4 * y + i, c = column + 4 * x + j;
      if (r < z.m && c < z.n) {
        float& to = out[static_cast<std::int64_t>(r) * z.n + c];
        to = acc[i][j] + (z.keep != 0 ? to : 0.0f);
      }
    }
  }
}

template <bool transposeA, bool transposeB>
void launchProduct(const Matmul& op, cudaStream_t stream) {
  const auto i = [](std::int64_t x) { return static_cast<int>(x); };
  const Product z{
      i(op.m), i(op.n), i(op.k), transposeA ? op.m : op.k, transposeB ? op.k : op.n, op.accumulate ? 1.0f : 0.0f};
  const auto grid = [&](int m, int n) {
    return dim3{gridSize(ceilDiv(op.m, std::int64_t{m}) * ceilDiv(op.n, std::int64_t{n}), 1), 1,
                static_cast<unsigned>(op.batch)};
  };
  withFloatType(op.out.dtype, [&](auto t) {
    using T = decltype(t);
    const T *a = pointer<const T>(op.a), *b = pointer<const T>(op.b);
    if constexpr (sizeof(T) == 4) {
      launch("matmul (f32)", exactProductKernel<transposeA, transposeB>, grid(exactTile, exactTile), dim3{exactThreads},
             2 * exactK * exactStride * sizeof(float), stream, a, b, pointer<float>(op.out), z);
    } else {
      // Every row of every batch begins at a multiple of 16 bytes when the row length is one of 8 elements.
      launch("matmul", tensorProductKernel<T, transposeA, transposeB>, grid(tileM, tileN), dim3{threads}, tensorBytes,
             stream, a, b, pointer<T>(op.out), z, z.aStride % 8 == 0, z.bStride % 8 == 0);
    }
  });
}

}  // namespace

void run(const Matmul& op, cudaStream_t stream) {
  if (op.out.size == 0) return;
  if (op.transposeA)
    return op.transposeB ? launchProduct<true, true>(op, stream) : launchProduct<true, false>(op, stream);
  op.transposeB ? launchProduct<false, true>(op, stream) : launchProduct<false, false>(op, stream);
}

}  // namespace gpu
