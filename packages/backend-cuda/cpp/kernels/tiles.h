// Tiles of 2-byte elements in shared memory, and the fragments that tensor cores take from them.
//
// A tile is `rows` x `columns` (a multiple of 64), row-major in units of 16 bytes. Unit c of row r lies at c ^ (r % 8), so
// that the eight rows that one ldmatrix phase reads, and the units that one copy phase writes, fall into different banks.
#pragma once

#include "gpu/target.h"

namespace gpu {

template <class T, int columns>
struct Tile {
  Shared<T> at;

  static_assert(columns % 64 == 0, "the swizzle permutes 8 units of 8 elements");
  static constexpr std::size_t bytes(int rows) { return static_cast<std::size_t>(rows) * columns * sizeof(T); }

  __device__ __forceinline__ static int place(int row, int c) { return row * columns + ((c ^ (row & 7)) << 3); }
  __device__ __forceinline__ Shared<T> unit(int row, int c) const { return at + place(row, c); }

  // Starts copying `rows` rows of `width` elements from global memory; the rest of the tile, and rows for which `limit`
  // says that there are none, become zero. A global row must begin at a multiple of 16 bytes. `thread`: threadIdx.x; where
  // it is opaque, the addresses that follow from it hold no registers between two calls.
  template <int rows, int threads>
  __device__ __forceinline__ void copyFrom(const T* from, std::int64_t stride, int limit, int width, int thread) const {
    constexpr int units = columns / 8;
    static_assert(rows * units % threads == 0, "every thread copies as much");
#pragma unroll
    for (int step = 0; step < rows * units / threads; ++step) {
      const int i = step * threads + thread;
      const int row = i / units, c = i % units;
      const bool valid = row < limit && c * 8 < width;
      copyAsync16(unit(row, c), valid ? from + row * stride + c * 8 : from, valid);
    }
  }

  template <int rows, int threads>
  __device__ __forceinline__ void copyFrom(const T* from, std::int64_t stride, int limit, int width) const {
    copyFrom<rows, threads>(from, stride, limit, width, static_cast<int>(threadIdx.x));
  }

  // Which row of the tile's first 16 x 16 elements the lane gives to ldmatrix.x4, whose four matrices of 8 x 8 go down the rows
  // first (across: those of columns 8 to 15 come last) or along the columns first (down: those of rows 8 to 15 come last).
  __device__ __forceinline__ static int laneAcross() {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return place(lane & 15, lane >> 4);
  }
  __device__ __forceinline__ static int laneDown() {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return place((lane & 7) + (lane >> 4) * 8, (lane >> 3) & 1);
  }
  // Operand A: 16 rows from `row`, 16 columns from `column`.
  __device__ __forceinline__ void loadA(std::uint32_t (&a)[4], int row, int column) const {
    loadMatrix4(a, of(laneAcross(), row, column));
  }
  // Operand B of A . tile^T: rows `row`.. are 16 columns of the product; b[0], b[1] for the first 8 and b[2], b[3].
  __device__ __forceinline__ void loadB(std::uint32_t (&b)[4], int row, int column, int lane = laneDown()) const {
    loadMatrix4(b, of(lane, row, column));
  }
  // Operand B of A . tile: 16 rows from `row` are summed over, columns `column`.. are 16 columns of the product.
  __device__ __forceinline__ void loadBTransposed(std::uint32_t (&b)[4], int row, int column) const {
    loadMatrix4Transposed(b, of(laneAcross(), row, column));
  }
  // Operand A of tile^T . B: 16 rows of the product are columns `column`.., 16 rows from `row` are summed over.
  __device__ __forceinline__ void loadATransposed(std::uint32_t (&a)[4], int row, int column) const {
    loadMatrix4Transposed(a, of(laneDown(), row, column));
  }

 private:
  // `row` and `column` are multiples of 16, so the swizzle of the lane's row holds for all of them: columns are one more exclusive
  // or, and a lane keeps one place instead of one for each.
  __device__ __forceinline__ Shared<T> of(int lane, int row, int column) const {
    return at + ((lane + row * columns) ^ column);
  }
};

// Two neighbouring 16 x 8 accumulators, rounded, as operand A of a product that sums over their 16 columns.
template <class T>
__device__ __forceinline__ void packA(std::uint32_t (&a)[4], const float (&c)[2][4]) {
  a[0] = pack<T>(c[0][0], c[0][1]);
  a[1] = pack<T>(c[0][2], c[0][3]);
  a[2] = pack<T>(c[1][0], c[1][1]);
  a[3] = pack<T>(c[1][2], c[1][3]);
}

// max(w, 0) of a 16 x 16 tile, rounded, as operand A.
template <class T>
__device__ __forceinline__ void packWeights(std::uint32_t (&a)[4], const float (&w)[2][4]) {
#pragma unroll
  for (int e = 0; e < 4; ++e) a[e] = packPositive<T>(w[e / 2][e % 2 * 2], w[e / 2][e % 2 * 2 + 1]);
}

// acc (16 rows, 8 count wide) += a . rows [row, row + 16) of the tile's columns from `column`.
template <class T, int tileColumns, int count>
__device__ __forceinline__ void accumulate(float (&acc)[count][4], const std::uint32_t (&a)[4],
                                           const Tile<T, tileColumns>& tile, int row, int column) {
#pragma unroll
  for (int n = 0; n < count / 2; ++n) {
    std::uint32_t b[4];
    tile.loadBTransposed(b, row, column + 16 * n);
    multiplyAdd<T>(acc[2 * n], a, b[0], b[1]);
    multiplyAdd<T>(acc[2 * n + 1], a, b[2], b[3]);
  }
}

template <int a, int b>
__device__ __forceinline__ void clear(float (&x)[a][b]) {
#pragma unroll
  for (int i = 0; i < a; ++i) {
#pragma unroll
    for (int j = 0; j < b; ++j) x[i][j] = 0;
  }
}

// Stores 16 rows of accumulators as pairs: rows row, row + 8 of this lane, where below `limit`.
template <class T, int count>
__device__ __forceinline__ void storeRows(T* to, std::int64_t stride, int row, int limit, int width,
                                          const float (&acc)[count][4], float factor) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = row + lane / 4 + 8 * half;
    if (r >= limit) continue;
#pragma unroll
    for (int n = 0; n < count; ++n) {
      const int column = 8 * n + 2 * (lane % 4);
      if (column < width) {
        *reinterpret_cast<std::uint32_t*>(to + r * stride + column) =
            pack<T>(acc[n][2 * half] * factor, acc[n][2 * half + 1] * factor);
      }
    }
  }
}

}  // namespace gpu
