// Chooses the kernels of an attention, and computes what its gradient starts from.
#include "kernels/attention.h"

namespace gpu {

namespace {

constexpr int threads = 256;
constexpr int lanesPerRow = 8;
constexpr int rowsPerBlock = threads / lanesPerRow;

// The terms of a row: delta_i = dO_i . a_i (o_i without tau) and what the gradient needs beside it; and the row's parts of dtau,
// dO_i . u_i / n_i, and of dsink. Three tensors are read, so what counts is bytes: eight lanes per row, 16 bytes each.
template <class T>
__global__ void __launch_bounds__(threads) deltaKernel(const __grid_constant__ AttentionProblem<T> p, float4* terms) {
  constexpr int vector = 16 / sizeof(T);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * rowsPerBlock + threadIdx.x / lanesPerRow;
  const int lane = static_cast<int>(threadIdx.x) % lanesPerRow, padded = p.paddedLength();
  const int r = static_cast<int>(row % padded), h = static_cast<int>(row / padded % p.heads),
            b = static_cast<int>(row / padded / p.heads);
  const bool exists = b < p.batch && r < p.length;
  float outputs = 0, actives = 0;
  if (exists) {
    const std::int64_t at = p.queryAt(b, r, h);
    const T* output = p.a == nullptr ? p.out : p.a;
    const auto load = [](const T* from) { return *reinterpret_cast<const Run<T, vector>*>(from); };
    for (int d = lane * vector; d < p.headDim; d += lanesPerRow * vector) {
      const auto g = load(p.dout + at + d), o = load(output + at + d);
      const auto u = p.u == nullptr ? Run<T, vector>{} : load(p.u + at + d);
#pragma unroll
      for (int e = 0; e < vector; ++e) {
        outputs += toFloat(g.x[e]) * toFloat(o.x[e]);
        actives += toFloat(g.x[e]) * toFloat(u.x[e]);
      }
    }
  }
#pragma unroll
  for (int mask = lanesPerRow / 2; mask > 0; mask /= 2) {
    outputs += shuffleXor(outputs, mask);
    actives += shuffleXor(actives, mask);
  }
  if (lane != 0 || b >= p.batch) return;
  if (!exists) {
    terms[row] = make_float4(0, 0, 0, INFINITY);
    return;
  }
  const std::int64_t at = p.rowAt(b, h, r);
  const float lse = p.lse[at];
  terms[row] = make_float4(lse, outputs, p.offset(b, h, r), static_cast<float>(p.start(b, r)));
  // spec §Sink logit: -exp(sink - lse) delta, with lse in base 2.
  if (p.parts.sink != nullptr) p.parts.sink[at] = -exp2f(p.sink[h] * log2e - lse) * outputs;
  if (p.parts.tau != nullptr) p.parts.tau[at] = actives / static_cast<float>(p.position(r) - p.start(b, r) + 1);
}

std::int64_t rowsOf(const AttentionInputs& in) { return in.sizes.batch * in.sizes.heads * in.sizes.queryLength; }

// lse and logTotal, then u and a at a multiple of 256 bytes.
std::size_t lseBytes(const AttentionInputs& in) {
  return ceilDiv(static_cast<std::size_t>(2 * rowsOf(in)) * sizeof(float), std::size_t{256}) * 256;
}

std::size_t activityBytes(const AttentionInputs& in) {
  const AttentionSizes& z = in.sizes;
  if (!in.tau || !usesTensorCores(in) || z.headDim > 128) return 0;
  return static_cast<std::size_t>(z.batch * z.heads * ceilDiv(z.queryLength, std::int64_t{activeRows}) *
                                  ceilDiv(z.keyLength, std::int64_t{activeSpan}));
}

// Where u, a and activity lie in what is saved.
template <class T>
void findSaved(AttentionProblem<T>& p, const AttentionInputs& in, void* saved) {
  p.lse = static_cast<float*>(saved);
  p.logTotal = p.lse + rowsOf(in);
  if (!in.tau) return;
  p.u = reinterpret_cast<T*>(static_cast<char*>(saved) + lseBytes(in));
  p.a = p.u + in.q.size;
  if (activityBytes(in) != 0) p.activity = reinterpret_cast<std::uint8_t*>(p.a + in.q.size);
}

std::int64_t biasPartials(const AttentionGrad& op) {
  return op.in.bias ? op.in.sizes.batch * gradBiasPartials(op.in) : 0;
}

std::size_t termsBytes(const AttentionInputs& in) {
  const AttentionSizes& z = in.sizes;
  return static_cast<std::size_t>(z.batch * z.heads * paddedRows(z.queryLength)) * sizeof(float4);
}

// Scratch of the gradient: dq's sums in f32, delta or the rows' terms, RowParts, dbias's partial sums, turns. The last two, which
// lie together, begin as zeros.
struct GradSpace {
  std::size_t delta, parts, dbias, turns, bytes;
};
GradSpace gradSpace(const AttentionGrad& op) {
  GradSpace s{};
  const bool tensor = usesTensorCores(op.in);
  const std::size_t rows = static_cast<std::size_t>(rowsOf(op.in)) * sizeof(float);
  s.delta = tensor ? gradSumsBytes(op.in) : 0;
  s.parts = s.delta + (tensor ? termsBytes(op.in) : rows);
  s.dbias = s.parts + sizeof(RowParts) / sizeof(float*) * rows;
  s.turns =
      s.dbias + static_cast<std::size_t>(biasPartials(op) * op.in.sizes.heads * op.in.sizes.window) * sizeof(float);
  s.bytes = s.turns + (tensor ? gradTurnsBytes(op.in) : 0);
  return s;
}

}  // namespace

std::int64_t gradBiasPartials(const AttentionInputs& in) {
  const AttentionSizes& z = in.sizes;
  if (!usesTensorCores(in)) return ceilDiv(z.queryLength, std::int64_t{exactTile});
  return z.headDim <= 128 ? ceilDiv(z.keyLength, std::int64_t{gradKeyTile})
                          : ceilDiv(z.queryLength, std::int64_t{wideGradRows});
}

std::size_t savedBytes(const AttentionInputs& in) {
  return lseBytes(in) + (in.tau ? 2 * in.q.bytes() + activityBytes(in) : 0);
}

std::size_t workspace(const Attention& op) {
  return op.saved == nullptr && decodes(op.in) ? decodeWorkspace(op.in) : 0;
}

AttentionWay wayOf(const Attention& op, AttentionPath path) {
  const AttentionInputs& in = op.in;
  if (op.saved == nullptr && decodes(in)) return AttentionWay::decode;
  if (!usesTensorCores(in)) return AttentionWay::exact;
  const bool keepsU = op.saved != nullptr && in.tau;
  const bool hopper = in.sizes.headDim <= (keepsU ? 64 : 128) && (!in.bias || in.sizes.window <= hopperWidestWindow);
  return path == AttentionPath::hopper && hopper ? AttentionWay::hopper : AttentionWay::mma;
}

AttentionWay wayOf(const AttentionGrad& op, AttentionPath path) {
  if (!usesTensorCores(op.in)) return AttentionWay::exact;
  return path == AttentionPath::hopper && op.in.sizes.headDim <= 64 ? AttentionWay::hopper : AttentionWay::mma;
}

void run(const Attention& op, void* workspace, cudaStream_t stream, AttentionPath path) {
  const AttentionWay way = wayOf(op, path);
  withFloatType(op.in.q.dtype, [&](auto t) {
    using T = decltype(t);
    AttentionProblem<T> p = problemOf<T>(op.in);
    p.out = pointer<T>(op.out);
    if (op.saved != nullptr) {
      findSaved(p, op.in, op.saved);
      if (p.activity != nullptr) {  // tiles that nobody attends are not visited
        check(cudaMemsetAsync(p.activity, 0, activityBytes(op.in), stream), "attention");
      }
    }
    if (way == AttentionWay::decode) return decode(p, Growth{}, workspace, stream);
    if constexpr (sizeof(T) == 2) {
      if (way == AttentionWay::hopper) return hopperForward(p, stream);
      if (way == AttentionWay::mma) return tensorForward(p, stream);
    }
    exactForward(p, stream);
  });
}

void attendGrowing(const Attention& op, const Growth& growth, void* workspace, cudaStream_t stream) {
  withFloatType(op.in.q.dtype, [&](auto t) {
    using T = decltype(t);
    AttentionProblem<T> p = problemOf<T>(op.in);
    p.out = pointer<T>(op.out);
    decode(p, growth, workspace, stream);
  });
}

std::size_t workspace(const AttentionGrad& op) { return gradSpace(op).bytes; }

void run(const AttentionGrad& op, void* workspace, cudaStream_t stream, AttentionPath path) {
  const AttentionSizes& z = op.in.sizes;
  const GradSpace space = gradSpace(op);
  auto* scratch = static_cast<char*>(workspace);
  auto* delta = reinterpret_cast<float*>(scratch + space.delta);
  RowParts parts{};
  auto* rows = reinterpret_cast<float*>(scratch + space.parts);
  RowParts::each([&](float* RowParts::* part, Tensor Learned::* input) {
    if (op.in.*input) parts.*part = rows;
    rows += rowsOf(op.in);
  });
  auto* dbias = reinterpret_cast<float*>(scratch + space.dbias);
  const std::int64_t biasSize = z.heads * z.window;
  if (space.bytes > space.dbias) {
    check(cudaMemsetAsync(dbias, 0, space.bytes - space.dbias, stream), "attentionGrad");
  }
  withFloatType(op.in.q.dtype, [&](auto t) {
    using T = decltype(t);
    AttentionProblem<T> p = problemOf<T>(op.in);
    findSaved(p, op.in, const_cast<void*>(op.saved));
    p.out = pointer<T>(op.out);
    p.dout = pointer<const T>(op.dout);
    p.delta = delta;
    p.dq = pointer<T>(op.dq);
    p.dk = pointer<T>(op.dk);
    p.dv = pointer<T>(op.dv);
    p.parts = parts;
    p.dbias = op.in.bias ? dbias : nullptr;
    p.dqSums = reinterpret_cast<float*>(scratch);
    p.turns = reinterpret_cast<int*>(scratch + space.turns);
    if constexpr (sizeof(T) == 2) {
      if (usesTensorCores(op.in)) {
        auto* terms = reinterpret_cast<float4*>(scratch + space.delta);
        p.terms = terms;
        const std::int64_t count = z.batch * z.heads * p.paddedLength();
        launch("attentionGrad delta", deltaKernel<T>, dim3{gridSize(count, rowsPerBlock)}, dim3{threads}, 0, stream, p,
               terms);
        return wayOf(op, path) == AttentionWay::hopper ? hopperGrad(p, stream) : tensorGrad(p, stream);
      }
    }
    exactDelta(p, delta, stream);
    exactGrad(p, stream);
  });
  if (op.in.bias) sumPartials(dbias, pointer<float>(op.gradients.bias), biasPartials(op), biasSize, stream);
  RowParts::each([&](float* RowParts::* part, Tensor Learned::* input) {
    if (!(op.in.*input)) return;
    sumHeads(parts.*part, pointer<float>(op.gradients.*input), z.batch, z.heads, z.queryLength, stream);
  });
}

}  // namespace gpu
