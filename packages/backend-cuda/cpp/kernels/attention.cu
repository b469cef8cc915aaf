// Chooses the kernels of an attention, and computes what its gradient starts from.
#include "kernels/attention.h"

namespace gpu {

namespace {

constexpr int threads = 256;
constexpr int warps = threads / 32;

// delta_i = dO_i . a_i (o_i without tau) and the row's part of dtau, dO_i . u_i / n_i. A warp per row (b, h, r).
template <class T>
__global__ void __launch_bounds__(threads) deltaKernel(const __grid_constant__ AttentionProblem<T> p, float* delta,
                                                       float* dtauRows) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32;
  if (row >= static_cast<std::int64_t>(p.batch) * p.heads * p.length) return;
  const int r = static_cast<int>(row % p.length), h = static_cast<int>(row / p.length % p.heads),
            b = static_cast<int>(row / p.length / p.heads);
  const std::int64_t at = p.queryAt(b, r, h);
  const T* output = p.a == nullptr ? p.out : p.a;
  float outputs = 0, actives = 0;
  for (int d = static_cast<int>(threadIdx.x) % 32; d < p.headDim; d += 32) {
    const float g = toFloat(p.dout[at + d]);
    outputs += g * toFloat(output[at + d]);
    if (p.u != nullptr) actives += g * toFloat(p.u[at + d]);
  }
  outputs = warpSum(outputs);
  actives = warpSum(actives);
  if (threadIdx.x % 32 != 0) return;
  delta[row] = outputs;
  if (dtauRows != nullptr) dtauRows[row] = actives / static_cast<float>(p.position(r) - p.start(b, r) + 1);
}

std::int64_t rowsOf(const AttentionInputs& in) {
  return in.sizes.batch * in.sizes.heads * in.sizes.queryLength;
}

// lse and logTotal, then u and a at a multiple of 256 bytes.
std::size_t lseBytes(const AttentionInputs& in) {
  return ceilDiv(static_cast<std::size_t>(2 * rowsOf(in)) * sizeof(float), std::size_t{256}) * 256;
}

std::int64_t biasPartials(const AttentionGrad& op) {
  return op.in.bias ? op.in.sizes.batch * ceilDiv(op.in.sizes.queryLength, std::int64_t{gradRowTile(op.in)}) : 0;
}

}  // namespace

int gradRowTile(const AttentionInputs& in) {
  return usesTensorCores(in) ? tensorGradRowTile(static_cast<int>(in.sizes.headDim)) : exactTile;
}

std::size_t savedBytes(const AttentionInputs& in) {
  return lseBytes(in) + (in.tau ? 2 * in.q.bytes() : 0);
}

std::size_t workspace(const Attention& op) {
  return op.saved == nullptr && decodes(op.in) ? decodeWorkspace(op.in) : 0;
}

void run(const Attention& op, void* workspace, cudaStream_t stream) {
  withFloatType(op.in.q.dtype, [&](auto t) {
    using T = decltype(t);
    AttentionProblem<T> p = problemOf<T>(op.in);
    p.out = pointer<T>(op.out);
    if (op.saved != nullptr) {
      p.lse = static_cast<float*>(op.saved);
      p.logTotal = p.lse + rowsOf(op.in);
      if (op.in.tau) {
        p.u = reinterpret_cast<T*>(static_cast<char*>(op.saved) + lseBytes(op.in));
        p.a = p.u + op.in.q.size;
      }
    } else if (decodes(op.in)) {
      return decode(p, workspace, stream);
    }
    if constexpr (sizeof(T) == 2) {
      if (usesTensorCores(op.in)) return tensorForward(p, stream);
    }
    exactForward(p, stream);
  });
}

// delta and dtau's rows, then dbias's partial sums.
std::size_t workspace(const AttentionGrad& op) {
  return static_cast<std::size_t>(2 * rowsOf(op.in) + biasPartials(op) * op.in.sizes.heads * op.in.sizes.window) *
         sizeof(float);
}

void run(const AttentionGrad& op, void* workspace, cudaStream_t stream) {
  const AttentionSizes& z = op.in.sizes;
  auto* delta = static_cast<float*>(workspace);
  float* dtauRows = delta + rowsOf(op.in);
  float* dbias = dtauRows + rowsOf(op.in);
  const std::int64_t biasSize = z.heads * z.window;
  withFloatType(op.in.q.dtype, [&](auto t) {
    using T = decltype(t);
    AttentionProblem<T> p = problemOf<T>(op.in);
    auto* saved = static_cast<char*>(const_cast<void*>(op.saved));
    p.out = pointer<T>(op.out);
    p.lse = reinterpret_cast<float*>(saved);
    p.logTotal = p.lse + rowsOf(op.in);
    if (op.in.tau) {
      p.u = reinterpret_cast<T*>(saved + lseBytes(op.in));
      p.a = p.u + op.in.q.size;
    }
    p.dout = pointer<const T>(op.dout);
    p.delta = delta;
    p.dq = pointer<T>(op.dq);
    p.dk = pointer<T>(op.dk);
    p.dv = pointer<T>(op.dv);
    if (op.in.bias) {
      p.dbias = dbias;
      check(cudaMemsetAsync(dbias, 0, static_cast<std::size_t>(biasPartials(op) * biasSize) * sizeof(float), stream),
            "attentionGrad");
    }
    float* rows = op.in.tau ? dtauRows : nullptr;
    if constexpr (sizeof(T) == 2) {
      if (usesTensorCores(op.in)) {
        launch("attentionGrad delta", deltaKernel<T>, dim3{gridSize(rowsOf(op.in), warps)}, dim3{threads}, 0, stream, p,
               delta, rows);
        return tensorGrad(p, stream);
      }
    }
    exactDelta(p, delta, rows, stream);
    exactGrad(p, stream);
  });
  if (op.in.bias) sumPartials(dbias, pointer<float>(op.dbias), biasPartials(op), biasSize, stream);
  if (op.in.tau) sumHeads(dtauRows, pointer<float>(op.dtau), z.batch, z.heads, z.queryLength, stream);
}

}  // namespace gpu
