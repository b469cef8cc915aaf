// Attention of a few query rows over a key cache: generation. The time is that of reading the cache, so keys and values are read
// in place, in whole cache rows of all heads, and of the values only the rows that some weight needs (spec §Decoding).
//
// The keys of a batch entry are cut into blocks. One loop over the blocks makes scores and, per block, maximum and sum of
// exp(score - maximum); the next merges those of all blocks, makes the weights, lists the values that they need and adds these
// up. A block's keys are read in four streams, a quarter of it apart. Sums of blocks are added in order at the end. Blocks
// depend on sizes and types alone, so results do not depend on threads. Caches of bf16 are widened as they are read, for half the bytes.
// Measurements: docs/kernels/cpu.md.
#include <algorithm>
#include <limits>

#include "attention_decode_rows.h"
#include "attention_tile.h"

namespace lazy_cpu {
namespace LAZY_ISA {

namespace {

constexpr std::int64_t mostRows = 4;
constexpr std::int64_t blockBytes = 128 << 10;  // of keys, about; the least where there is enough
constexpr std::int64_t mostBlocks = 32;
constexpr std::int64_t ahead = 8 << 10;  // bytes of values to ask for in advance; beyond the end nothing is read
constexpr std::int64_t denseStep = 4;    // values of one head at a time, where all are needed
constexpr std::int64_t sparseStep = 16;  // and where not
constexpr float lowest = std::numeric_limits<float>::lowest();

template <class T>
LAZY_INLINE void prefetch(const T* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 64 / static_cast<std::int64_t>(sizeof(T))) __builtin_prefetch(from + i);
}

// An even number, for two threads; one where a second thread would take longer to come.
std::int64_t blocksOf(std::int64_t bytes) {
  return bytes < blockBytes / 2 ? 1 : std::clamp<std::int64_t>(bytes / (2 * blockBytes) * 2, 2, mostBlocks);
}

// How the work is cut: by sizes and types alone, so that results do not depend on threads.
struct Blocks {
  explicit Blocks(const ops::AttentionInputs& in)
      : in(in),
        layout(in.sizes),
        rows(layout.sizes.queryLength * layout.sizes.heads),
        padded(roundUp(rows, 16)),
        ld(layout.sizes.kvHeads * layout.sizes.headDim),
        blocks(blocksOf(layout.sizes.keyLength * ld * static_cast<std::int64_t>(ops::bytesPerElement(in.k.dtype)))),
        entries(std::min(layout.sizes.batch, (mostBlocks + blocks - 1) / blocks)),
        stride(roundUp(keysOf(0), 16) + 16),
        floats(roundUp(2 * rows * stride + 4 * padded + rows * layout.sizes.headDim, 16)) {}

  const ops::AttentionInputs& in;
  const Layout layout;
  const std::int64_t rows, padded, ld;
  const std::int64_t blocks;          // per batch entry
  const std::int64_t entries;         // batch entries at a time, so that the workspace does not grow with the batch
  const std::int64_t stride, floats;  // of a row and of a Block

  // Per block, where the first attended key is `begin`.
  std::int64_t keysOf(std::int64_t begin) const {
    return roundUp((layout.sizes.keyLength - begin + blocks - 1) / blocks, 4);
  }
  std::int64_t begin(std::int64_t b, std::int64_t r) const {
    return in.starts ? integers(in.starts)[b * layout.sizes.queryLength + r] : 0;
  }
  std::int64_t end(std::int64_t r) const { return r + layout.offset + 1; }
};

// What is kept of a block between the loops. Rows are (query row, head), as in q and out.
struct Block {
  Block(const Blocks& p, float* memory, std::int64_t item)
      : scores(memory + item * p.floats),
        offsets(reinterpret_cast<std::int32_t*>(scores + p.rows * p.stride)),
        counts(offsets + p.rows * p.stride),
        tops(reinterpret_cast<float*>(counts + p.padded)),
        sums(tops + p.padded),
        factors(sums + p.padded),
        out(factors + p.padded) {}

  float* const scores;  // [rows][stride], from the first key; later the weights that are not zero
  std::int32_t *const offsets, *const counts;  // [rows][stride], [rows]: the values that they weigh
  float *const tops, *const sums;              // [rows]: maximum, and sum of exp(score - maximum)
  float* const factors;                        // [rows]: what makes p of exp(score - maximum)
  float* const out;                            // [rows][headDim]; before, queries of bf16 widened
};

// Keys [from, to) of a batch entry.
struct Keys {
  std::int64_t b, from, to;

  Keys(const Blocks& p, std::int64_t b, std::int64_t block) : b(b) {
    std::int64_t begin = p.begin(b, 0);
    for (std::int64_t r = 1; r < p.layout.sizes.queryLength; ++r) begin = std::min(begin, p.begin(b, r));
    from = std::min(begin + block * p.keysOf(begin), p.layout.sizes.keyLength);
    to = std::min(from + p.keysOf(begin), p.layout.sizes.keyLength);
  }
};

// visit(row, r, h, first, count) for every row that attends `count` > 0 of the keys, from number `first`.
template <class Visit>
LAZY_INLINE void forRows(const Blocks& p, const Keys& keys, const Visit& visit) {
  for (std::int64_t row = 0; row < p.rows; ++row) {
    const std::int64_t r = row / p.layout.sizes.heads;
    const std::int64_t first = std::max(p.begin(keys.b, r), keys.from), last = std::min(p.end(r), keys.to);
    if (first < last) visit(row, r, row % p.layout.sizes.heads, first - keys.from, last - first);
  }
}

// The rows that read the keys and values of one head.
template <class Visit>
LAZY_INLINE void forGroup(const Blocks& p, std::int64_t kv, const Visit& visit) {
  for (std::int64_t r = 0; r < p.layout.sizes.queryLength; ++r)
    for (std::int64_t h = kv * p.layout.group; h < (kv + 1) * p.layout.group; ++h) visit(r * p.layout.sizes.heads + h);
}

// The queries of a batch entry.
const float* queriesOf(const Blocks& p, std::int64_t at, float*, Elements<float>) { return floats(p.in.q) + at; }
const float* queriesOf(const Blocks& p, std::int64_t at, float* room, Elements<Brain>) {
  const Brain* from = elements<Brain>(p.in.q) + at;
  for (std::int64_t i = 0; i < p.rows * p.layout.sizes.headDim; ++i) room[i] = widened(from[i]);
  return room;
}

template <class T>
void scoreKeys(const Blocks& p, const Keys& keys, const Block& block) {
  const std::int64_t dim = p.layout.sizes.headDim;
  const float* queries = queriesOf(p, keys.b * p.rows * dim, block.out, Elements<T>{});
  const float scale = static_cast<float>(p.in.scale);
  const std::int64_t count = keys.to - keys.from, quarter = (count + 3) / 4;
  const T* first = elements<T>(p.in.k) + p.layout.keyAt(keys.b, keys.from, 0);
  for (std::int64_t j = 0; j < quarter; ++j) {
    for (std::int64_t kv = 0; kv < p.layout.sizes.kvHeads; ++kv) {
      const T* four[4];
      for (std::int64_t i = 0; i < 4; ++i) four[i] = first + std::min(i * quarter + j, count - 1) * p.ld + kv * dim;
      forGroup(p, kv, [&](std::int64_t row) {
        const Four scores = dots(queries + row * dim, four, dim) * scale;
        float* line = block.scores + row * p.stride + j;
        for (std::int64_t i = 0; i < 4; ++i) line[i * quarter] = scores[i];
      });
    }
  }
}

// Scores to exp(score - top of the block). The top is finite, so that a block of -inf weighs nothing.
void exponentialsOf(const Blocks& p, const Keys& keys, const Block& block) {
  std::fill_n(block.tops, p.padded, lowest);
  std::fill_n(block.sums, p.padded, 0.0f);
  forRows(p, keys, [&](std::int64_t row, std::int64_t r, std::int64_t h, std::int64_t first, std::int64_t count) {
    float* line = block.scores + row * p.stride + first;
    if (p.in.bias) {
      const float* bias = floats(p.in.bias) + h * p.layout.sizes.window;
      const std::int64_t far = p.end(r) - 1 - keys.from - first;  // distance of the first of them
      for (std::int64_t j = std::max<std::int64_t>(0, far - p.layout.sizes.window + 1); j < count; ++j)
        line[j] += bias[far - j];
    }
    block.tops[row] = std::max(rowMaximum(line, count), lowest);
    block.sums[row] = rowExponentials(line, count, block.tops[row]);
  });
}

// The sink logits of a vector of rows, which are (query row, head); -infinity is none, spec §Sink logit.
LAZY_INLINE Vector sinksOf(const Blocks& p, std::int64_t row) {
  float each[lanes];
  for (std::int64_t i = 0; i < lanes; ++i) {
    each[i] = row + i < p.rows ? floats(p.in.sink)[(row + i) % p.layout.sizes.heads]
                               : -std::numeric_limits<float>::infinity();
  }
  return load(each);
}

// From the tops and sums of all blocks of the entry, whose first one is `item`.
void factorsOf(const Blocks& p, float* memory, std::int64_t item, const Block& block) {
  for (std::int64_t row = 0; row < p.padded; row += lanes) {
    Vector top = load(Block(p, memory, item).tops + row), total = {};
    for (std::int64_t i = 1; i < p.blocks; ++i) top = maximum(top, load(Block(p, memory, item + i).tops + row));
    if (p.in.sink) {
      const Vector sinks = sinksOf(p, row);
      top = maximum(top, sinks);
      total += exponentialOfNegative(sinks - top);
    }
    for (std::int64_t i = 0; i < p.blocks; ++i) {
      const Block other(p, memory, item + i);
      total += load(other.sums + row) * exponentialOfNegative(load(other.tops + row) - top);
    }
    store(block.factors + row, exponentialOfNegative(load(block.tops + row) - top) / total);
  }
}

template <class T>
LAZY_INLINE void prefetchValues(const Blocks& p, const Keys& keys, std::int64_t kv, const std::int32_t* offsets,
                                std::int64_t count) {
  const T* values = elements<T>(p.in.v) + p.layout.keyAt(keys.b, keys.from, kv);
  for (std::int64_t i = 0; i < count; ++i) prefetch(values + offsets[i], p.layout.sizes.headDim);
}

// exp(score - top) to the weights that are not zero and where their values are. Without a branch per key, which would be
// mispredicted as often as not. Asks for the first values.
template <class T>
void weightsOf(const Blocks& p, const Keys& keys, const Block& block) {
  std::fill_n(block.counts, p.rows, 0);
  forRows(p, keys, [&](std::int64_t row, std::int64_t r, std::int64_t h, std::int64_t first, std::int64_t count) {
    float* line = block.scores + row * p.stride;
    std::int32_t* offsets = block.offsets + row * p.stride;
    const auto attended = static_cast<float>(p.end(r) - p.begin(keys.b, r));
    rowWeights(line + first, count, block.factors[row], p.in.tau ? floats(p.in.tau)[h] / attended : 0.0f);
    std::int32_t needed = 0;
    for (std::int64_t j = first; j < first + count; ++j) {
      const float w = line[j];
      line[needed] = w;
      offsets[needed] = static_cast<std::int32_t>(j * p.ld);
      needed += w != 0.0f;
    }
    block.counts[row] = needed;
    prefetchValues<T>(p, keys, h / p.layout.group, offsets, std::min<std::int64_t>(needed, sparseStep));
  });
}

// Goes through the lists of all rows side by side, a few values of each head in turn: near enough to front to back.
template <class T>
void sumValues(const Blocks& p, const Keys& keys, const Block& block) {
  const std::int64_t dim = p.layout.sizes.headDim;
  const auto [least, most] = std::minmax_element(block.counts, block.counts + p.rows);
  const bool dense = *least == keys.to - keys.from;
  const std::int64_t step = dense ? denseStep : sparseStep;
  const T* first = elements<T>(p.in.v) + p.layout.keyAt(keys.b, keys.from, 0);
  std::fill_n(block.out, p.rows * dim, 0.0f);
  for (std::int64_t i = 0; i < *most; i += step) {
    for (std::int64_t kv = 0; kv < p.layout.sizes.kvHeads; ++kv) {
      if (dense)
        prefetch(first + i * p.ld + kv * step * dim + ahead / static_cast<std::int64_t>(sizeof(T)), step * dim);
      forGroup(p, kv, [&](std::int64_t row) {
        const std::int64_t left = block.counts[row] - i;
        if (left <= 0) return;
        const float* weights = block.scores + row * p.stride + i;
        const std::int32_t* offsets = block.offsets + row * p.stride + i;
        if (!dense) prefetchValues<T>(p, keys, kv, offsets + step, std::min(left - step, step));
        addValues(weights, offsets, std::min(left, step), first + kv * dim, dim, block.out + row * dim);
      });
    }
  }
}

// In the order of the blocks, from the first one, `item`.
template <class T>
void sumBlocks(const Blocks& p, float* memory, std::int64_t item, T* out) {
  const float* first = Block(p, memory, item).out;
  for (std::int64_t i = 0; i < p.rows * p.layout.sizes.headDim; i += 4) {
    Four sum = {};
    for (std::int64_t k = 0; k < p.blocks; ++k) sum += loadAs<Four>(first + k * p.floats + i);
    for (int lane = 0; lane < 4; ++lane) narrow(sum[lane], out + i + lane);
  }
}

}  // namespace

bool decodes(const ops::AttentionSizes& sizes, bool save) { return !save && sizes.queryLength <= mostRows; }

std::size_t decodeFloats(const ops::AttentionInputs& in) {
  const Blocks p(in);
  return static_cast<std::size_t>(p.entries * p.blocks * p.floats);
}

namespace {

template <class T>
void decodeAs(const ops::Attention& op, Runtime& runtime, float* workspace) {
  const Blocks p(op.in);
  for (std::int64_t b = 0; b < p.layout.sizes.batch; b += p.entries) {
    const std::int64_t entries = std::min(p.entries, p.layout.sizes.batch - b);
    runtime.pool.run(entries * p.blocks, [&](std::int64_t item, int) {
      const Keys keys(p, b + item / p.blocks, item % p.blocks);
      const Block block(p, workspace, item);
      scoreKeys<T>(p, keys, block);
      exponentialsOf(p, keys, block);
    });
    runtime.pool.run(entries * p.blocks, [&](std::int64_t item, int) {
      const Block block(p, workspace, item);
      factorsOf(p, workspace, item / p.blocks * p.blocks, block);
      const Keys keys(p, b + item / p.blocks, item % p.blocks);
      weightsOf<T>(p, keys, block);
      sumValues<T>(p, keys, block);
    });
    runtime.pool.run(entries, [&](std::int64_t entry, int) {
      sumBlocks(p, workspace, entry * p.blocks, elements<T>(op.out) + (b + entry) * p.rows * p.layout.sizes.headDim);
    });
  }
}

}  // namespace

void attentionDecode(const ops::Attention& op, Runtime& runtime, float* workspace) {
  withElements(op.in.k, [&](auto type) { decodeAs<typename decltype(type)::Type>(op, runtime, workspace); });
}

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
