// Matrix products and attention of every runnable build of the kernels against plain loops in double, without Node: for
// processors that are emulated (npm run test:neon). The conformance suite is the real test where Node runs.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../../cpp/cpu.h"

using namespace lazy_cpu;

namespace {

std::vector<float> values(std::size_t size, unsigned seed) {
  std::vector<float> out(size);
  for (float& x : out) x = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f;
  return out;
}

ops::Tensor view(std::vector<float>& x) { return {x.data(), static_cast<std::int64_t>(x.size()), ops::DType::f32}; }

// Relative Frobenius error, as conformance measures it.
void compare(const std::string& what, const std::vector<float>& actual, const std::vector<double>& expected,
             double tolerance) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    norm += expected[i] * expected[i];
  }
  const double relative = std::sqrt(error / norm);
  std::printf("%-40s %.1e\n", what.c_str(), relative);
  if (!(relative <= tolerance)) std::exit(1);
}

template <class Size>
std::vector<float> scratch(Size bytes) {
  return std::vector<float>(bytes / sizeof(float) + 64);
}

void matmuls(const KernelTable& table, Runtime& runtime) {
  for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{1, 130, 67},
                                {1, 6, 40},
                                {2, 259, 131},
                                {3, 3, 64},
                                {4, 130, 129},
                                {5, 7, 3},
                                {150, 70, 300},
                                {64, 48, 2000}}) {
    for (int layout = 0; layout < 4; ++layout) {
      const bool ta = (layout & 1) != 0, tb = (layout & 2) != 0;
      auto a = values(static_cast<std::size_t>(m * k), 1), b = values(static_cast<std::size_t>(k * n), 2);
      auto out = values(static_cast<std::size_t>(m * n), 3);
      std::vector<double> expected(out.begin(), out.end());
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < n; ++j)
          for (std::int64_t p = 0; p < k; ++p)
            expected[static_cast<std::size_t>(i * n + j)] +=
                static_cast<double>(a[static_cast<std::size_t>(ta ? p * m + i : i * k + p)]) *
                static_cast<double>(b[static_cast<std::size_t>(tb ? j * k + p : p * n + j)]);
      const ops::Matmul op{view(a), view(b), view(out), 1, m, n, k, ta, tb, true};
      auto workspace = scratch(table.matmulWorkspace(op, runtime.machine));
      table.matmul(op, runtime, workspace.data());
      compare(std::string(table.name) + " matmul " + std::to_string(m) + "x" + std::to_string(n) + "x" +
                  std::to_string(k) + (ta ? " t" : " n") + (tb ? "t" : "n"),
              out, expected, 2e-6);
    }
  }
}

void attentions(const KernelTable& table, Runtime& runtime) {
  const std::int64_t L = 90, H = 2, D = 20, W = 33;
  const std::size_t size = static_cast<std::size_t>(L * H * D);
  auto q = values(size, 1), k = values(size, 2), v = values(size, 3), dout = values(size, 4);
  auto bias = values(static_cast<std::size_t>(H * W), 5);
  std::vector<float> tau{-1.0f, -0.5f}, out(size), saved(static_cast<std::size_t>(2 * H * L)), dq(size), dk(size),
      dv(size), dbias(bias.size()), dtau(2);
  const double scale = 0.3;
  const ops::Learned learned{view(bias), view(tau), {}};
  const ops::AttentionInputs in{learned, {1, L, L, L, H, H, D, W}, scale, view(q), view(k), view(v), {}};
  auto forward = scratch(table.attentionWorkspace(in, runtime.machine));
  table.attention({in, view(out), saved.data()}, runtime, forward.data());
  auto backward = scratch(table.attentionGradWorkspace(in, runtime.machine));
  const ops::Learned gradients{view(dbias), view(dtau), {}};
  table.attentionGrad({in, view(dout), view(out), saved.data(), view(dq), view(dk), view(dv), gradients}, runtime,
                      backward.data());

  std::vector<double> eout(size), edq(size), edk(size), edv(size), edbias(bias.size()), edtau(2);
  const auto at = [&](std::int64_t r, std::int64_t h, std::int64_t d) {
    return static_cast<std::size_t>((r * H + h) * D + d);
  };
  for (std::int64_t h = 0; h < H; ++h) {
    for (std::int64_t i = 0; i < L; ++i) {
      std::vector<double> p(static_cast<std::size_t>(i + 1)), g(p.size());
      double sum = 0, delta = 0;
      for (std::int64_t j = 0; j <= i; ++j) {
        double s = i - j < W ? static_cast<double>(bias[static_cast<std::size_t>(h * W + i - j)]) : 0.0;
        for (std::int64_t d = 0; d < D; ++d) {
          s += scale * static_cast<double>(q[at(i, h, d)]) * static_cast<double>(k[at(j, h, d)]);
          g[static_cast<std::size_t>(j)] +=
              static_cast<double>(dout[at(i, h, d)]) * static_cast<double>(v[at(j, h, d)]);
        }
        sum += p[static_cast<std::size_t>(j)] = std::exp(s);
      }
      const double offset = static_cast<double>(tau[static_cast<std::size_t>(h)]) / static_cast<double>(i + 1);
      for (std::size_t j = 0; j < p.size(); ++j) {
        p[j] /= sum;
        if (p[j] + offset <= 0) g[j] = 0;
        delta += p[j] * g[j];
        edtau[static_cast<std::size_t>(h)] += g[j] / static_cast<double>(i + 1);
      }
      for (std::int64_t j = 0; j <= i; ++j) {
        const double pj = p[static_cast<std::size_t>(j)], w = std::max(pj + offset, 0.0);
        const double ds = pj * (g[static_cast<std::size_t>(j)] - delta);
        if (i - j < W) edbias[static_cast<std::size_t>(h * W + i - j)] += ds;
        for (std::int64_t d = 0; d < D; ++d) {
          eout[at(i, h, d)] += w * static_cast<double>(v[at(j, h, d)]);
          edq[at(i, h, d)] += scale * ds * static_cast<double>(k[at(j, h, d)]);
          edk[at(j, h, d)] += scale * ds * static_cast<double>(q[at(i, h, d)]);
          edv[at(j, h, d)] += w * static_cast<double>(dout[at(i, h, d)]);
        }
      }
    }
  }
  const std::string name = std::string(table.name) + " attention ";
  compare(name + "output", out, eout, 2e-5);
  compare(name + "dq", dq, edq, 1e-4);
  compare(name + "dk", dk, edk, 1e-4);
  compare(name + "dv", dv, edv, 1e-4);
  compare(name + "dbias", dbias, edbias, 1e-4);
  compare(name + "dtau", dtau, edtau, 1e-4);
}

}  // namespace

int main() {
  for (const Target& target : runnableTargets()) {
    Runtime runtime({2, target.unit});
    matmuls(*target.table, runtime);
    attentions(*target.table, runtime);
  }
  std::puts("passed");
}
