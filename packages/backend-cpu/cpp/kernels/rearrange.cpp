// out[i0, i1, ...] = x[sum(i * strides)]: permuted and repeated axes. Elements are words of two or four bytes.
#include <algorithm>
#include <cstring>

#include "walk.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t grain = 1 << 14;
constexpr std::int64_t tile = 16;  // entries in a cache line

// The axis along which x lies in order, or -1.
std::int64_t orderedAxis(const ops::Rearrange& op) {
  for (std::int64_t axis = 0; axis < op.sizes.count; ++axis)
    if (op.strides[axis] == 1 && op.sizes[axis] > 1) return axis;
  return -1;
}

// The last axis strides through x while another one, `along`, lies in order: tiles of both, so that whole cache lines of x are
// used. A task is `tile` entries of `along` and all of the last axis, for one place in the other axes.
template <class Word>
void transpose(const ops::Rearrange& op, std::int64_t along, Runtime& runtime) {
  if (op.out.size == 0) return;
  const std::int64_t last = op.sizes.count - 1, width = op.sizes[last], stride = op.strides[last];
  const std::int64_t length = op.sizes[along], tiles = (length + tile - 1) / tile;
  std::int64_t step = width;  // of `along`, in out
  for (std::int64_t axis = along + 1; axis < last; ++axis) step *= op.sizes[axis];
  // The other axes, and where their places lie in x and in out.
  ops::Axes sizes, from, to;
  std::int64_t places = 1, outStride = op.out.size;
  for (std::int64_t axis = 0; axis < last; ++axis) {
    outStride /= op.sizes[axis];
    if (axis == along) continue;
    const auto next = static_cast<std::size_t>(sizes.count);
    sizes.at[next] = op.sizes[axis];
    from.at[next] = op.strides[axis];
    to.at[next] = outStride;
    places *= op.sizes[axis];
    sizes.count = from.count = to.count = sizes.count + 1;
  }
  sizes.count = from.count = to.count = sizes.count + 1;  // Walk leaves the last axis to its caller
  const ops::Axes* const strides[] = {&from, &to};
  runtime.pool.run(places * tiles, [&](std::int64_t item, int) {
    const Walk<2> place(sizes, strides, item / tiles);
    const std::int64_t first = item % tiles * tile, count = std::min(tile, length - first);
    const Word* x = static_cast<const Word*>(op.x.data) + place.at[0] + first;
    Word* out = static_cast<Word*>(op.out.data) + place.at[1] + first * step;
    for (std::int64_t j = 0; j < width; j += tile) {
      const std::int64_t end = std::min(j + tile, width);
      for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t k = j; k < end; ++k) out[i * step + k] = x[k * stride + i];
    }
  });
}

template <class Word>
void rearrangeWords(const ops::Rearrange& op, Runtime& runtime) {
  const std::int64_t last = op.sizes.count - 1, stride = op.strides[last], along = orderedAxis(op);
  if (stride > 1 && along >= 0) return transpose<Word>(op, along, runtime);
  const ops::Axes* const strides[] = {&op.strides};
  runtime.pool.ranges(op.out.size, grain, [&](std::int64_t begin, std::int64_t end) {
    forRows(op.sizes, strides, begin, end,
            [&](const std::int64_t (&at)[1], std::int64_t column, std::int64_t place, std::int64_t count) {
              const Word* x = static_cast<const Word*>(op.x.data) + at[0] + column * stride;
              Word* out = static_cast<Word*>(op.out.data) + place;
              if (stride == 1) {
                std::copy_n(x, count, out);
              } else if (stride == 0) {
                std::fill_n(out, count, *x);
              } else {
                for (std::int64_t i = 0; i < count; ++i) out[i] = x[i * stride];
              }
            });
  });
}

}  // namespace

void rearrange(const ops::Rearrange& op, Runtime& runtime, void*) {
  if (ops::bytesPerElement(op.x.dtype) == 2) return rearrangeWords<std::uint16_t>(op, runtime);
  rearrangeWords<std::uint32_t>(op, runtime);
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
