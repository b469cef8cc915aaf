// Attention of a few query rows over a key cache: generation. The time is that of reading the cache, so keys are read in
// place (from memory once; the other query heads of a group find them in cache), and of the values only the rows that
// some weight needs (SPEC.md: with
// 60 % zeros that spares 30 % of the traffic, which softmax attention cannot).
//
// Active keys are listed first: a branch per key would be mispredicted as often as not.
//
// Measured with keys and values not in cache, 280 tokens of 8 heads of 64 in f32, 1.15 MB in huge pages (Zen 4, two cores):
// 45 us, and 80 on one core, which has 20 when they are cached. What failed: all heads of a token at once, which reads memory from front to
// back (49 to 59 on one core, but 48 on two, with three loops where this has one); four heads at a time, 1 KiB of every 2 (94 on one); asking
// for rows 8 or 16 ahead in software (78 to 99 on one).
#include <algorithm>

#include "attention_tile.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t mostRows = 4;

// out[j] = query . key j, four keys at a time. `query` is filled up with zeros to whole vectors.
void dotKeys(const float* query, const float* keys, std::int64_t ld, std::int64_t dim, std::int64_t count, float* out) {
  const std::int64_t whole = dim / lanes * lanes;
  const auto dots = [&](const float* from, auto width, float* to) {
    constexpr int n = decltype(width)::value;
    Vector sums[n] = {};
    for (std::int64_t d = 0; d < whole; d += lanes)
#pragma GCC unroll 4
      for (int i = 0; i < n; ++i) sums[i] += load(query + d) * load(from + i * ld + d);
    if (whole < dim)
      for (int i = 0; i < n; ++i) sums[i] += load(query + whole) * loadSome(from + i * ld + whole, dim - whole);
    for (int i = 0; i < n; ++i) to[i] = sumOf(sums[i]);
  };
  std::int64_t j = 0;
  for (; j + 4 <= count; j += 4) dots(keys + j * ld, std::integral_constant<int, 4>{}, out + j);
  for (; j < count; ++j) dots(keys + j * ld, std::integral_constant<int, 1>{}, out + j);
}

// out = sum over the listed keys of weight * value row.
void addValues(const float* weights, const std::int32_t* active, std::int64_t count, const float* values,
               std::int64_t ld, std::int64_t dim, float* out) {
  std::int64_t d = 0;
  for (; d + 4 * lanes <= dim; d += 4 * lanes) {
    Vector sums[4] = {};
    for (std::int64_t i = 0; i < count; ++i) {
      const Vector w = splat(weights[active[i]]);
      const float* row = values + active[i] * ld + d;
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[v] += w * load(row + v * lanes);
    }
    for (int v = 0; v < 4; ++v) store(out + d + v * lanes, sums[v]);
  }
  for (; d + 4 <= dim; d += 4) {
    float sums[4] = {};
    for (std::int64_t i = 0; i < count; ++i)
      for (int v = 0; v < 4; ++v) sums[v] += weights[active[i]] * values[active[i] * ld + d + v];
    std::copy_n(sums, 4, out + d);
  }
}

}  // namespace

bool decodes(const ops::AttentionSizes& z, bool save) { return !save && z.queryLength <= mostRows; }

std::size_t decodeFloats(const ops::AttentionSizes& z) {
  const Shape s(z);
  return static_cast<std::size_t>(s.dim + s.reversedBias() + 2 * s.stride);
}

void attentionDecode(const ops::Attention& op, Runtime& runtime, float* workspace) {
  const Shape s(op.in.sizes);
  const ops::AttentionInputs& in = op.in;
  const std::int64_t ld = s.z.kvHeads * s.z.headDim;
  runtime.pool.run(s.z.batch * s.z.kvHeads, [&](std::int64_t unit, int thread) {
    const std::int64_t kv = unit % s.z.kvHeads, b = unit / s.z.kvHeads;
    float* query = workspace + static_cast<std::size_t>(thread) * decodeFloats(s.z);
    float* reversed = query + s.dim;
    float* row = reversed + s.reversedBias();
    auto* active = reinterpret_cast<std::int32_t*>(row + s.stride);
    for (std::int64_t h = kv * s.group; h < (kv + 1) * s.group; ++h) {
      if (in.bias) reverseBias(floats(in.bias) + h * s.z.window, s.z.window, reversed);
      for (std::int64_t r = 0; r < s.z.queryLength; ++r) {
        const std::int64_t begin = in.starts ? integers(in.starts)[b * s.z.queryLength + r] : 0;
        const std::int64_t count = r + s.offset + 1 - begin;
        copyTile(floats(in.q) + s.queryAt(b, r, h), 0, 1, s, static_cast<float>(in.scale), query);
        dotKeys(query, floats(in.k) + s.keyAt(b, begin, kv), ld, s.z.headDim, count, row);
        if (in.bias) addBias(row, count, reversed, s.z.window);
        const float top = rowMaximum(row, count);
        const float inverse = 1.0f / rowExponentials(row, count, top);
        rowWeights(row, count, inverse, in.tau ? floats(in.tau)[h] / static_cast<float>(count) : 0.0f);
        std::int64_t needed = 0;
        for (std::int64_t j = 0; j < count; ++j) {
          active[needed] = static_cast<std::int32_t>(j);
          needed += row[j] != 0.0f;
        }
        addValues(row, active, needed, floats(in.v) + s.keyAt(b, begin, kv), ld, s.z.headDim,
                  floats(op.out) + s.queryAt(b, r, h));
      }
    }
  });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
