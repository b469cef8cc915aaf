// A cuBLASLt that multiplies on the host, for tests of how it is found and called: the part that device/blas.cpp uses. Its
// version is that of its file name (libcublasLt.so.13: 13.1). LAZY_FAKE_CUBLASLT="algorithms=0" sets what it does:
//
// create, matmul: the status that these calls return. algorithms: how many it has for a product. Types: f32 alone.
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

struct Layout {
  std::uint64_t rows, columns;
  std::int64_t leading, stride = 0;
  std::int32_t count = 1;
};
struct Product {
  std::int32_t transposeA = 0, transposeB = 0;
};

int setting(const char* name, int otherwise) {
  const char* all = std::getenv("LAZY_FAKE_CUBLASLT");
  const std::string settings = std::string(" ") + (all == nullptr ? "" : all);
  const std::string key = std::string(" ") + name + "=";
  const auto at = settings.find(key);
  return at == std::string::npos ? otherwise : std::atoi(settings.c_str() + at + key.size());
}

}  // namespace

extern "C" {

int cublasLtCreate(void** handle) {
  *handle = std::malloc(1);
  return setting("create", 0);
}
int cublasLtDestroy(void* handle) {
  std::free(handle);
  return 0;
}
std::size_t cublasLtGetVersion() {
  Dl_info here{};
  dladdr(reinterpret_cast<void*>(&cublasLtGetVersion), &here);
  const std::string file = here.dli_fname;
  const auto dot = file.rfind(".so.");
  return static_cast<std::size_t>(dot == std::string::npos ? 13 : std::atoi(file.c_str() + dot + 4)) * 10000 + 100;
}
int cublasLtMatmulDescCreate(void** made, int computeType, int scaleType) {
  *made = new Product;
  return computeType == 68 && scaleType == 0 ? 0 : 7;
}
int cublasLtMatmulDescDestroy(void* desc) {
  delete static_cast<Product*>(desc);
  return 0;
}
int cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, std::size_t size) {
  if (size != 4 || (attribute != 3 && attribute != 4)) return 7;
  auto* product = static_cast<Product*>(desc);
  (attribute == 3 ? product->transposeA : product->transposeB) = *static_cast<const std::int32_t*>(value);
  return 0;
}
int cublasLtMatrixLayoutCreate(void** made, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
  *made = new Layout{rows, columns, leading};
  return type == 0 ? 0 : 15;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return 0;
}
int cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, std::size_t size) {
  auto* to = static_cast<Layout*>(layout);
  if (attribute == 5 && size == 4) to->count = *static_cast<const std::int32_t*>(value);
  if (attribute == 6 && size == 8) to->stride = *static_cast<const std::int64_t*>(value);
  return attribute == 5 || attribute == 6 ? 0 : 7;
}
int cublasLtMatmulPreferenceCreate(void** made) {
  *made = std::malloc(1);
  return 0;
}
int cublasLtMatmulPreferenceDestroy(void* preference) {
  std::free(preference);
  return 0;
}
int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, std::size_t) { return 0; }
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*, int* found) {
  *found = setting("algorithms", 1);
  return *found == 0 ? 15 : 0;
}
// Column-major: d = alpha op(a) op(b) + beta c.
int cublasLtMatmul(void*, void* desc, const float* alpha, const float* a, void* aLayout, const float* b, void* bLayout,
                   const float* beta, const float* c, void*, float* d, void* dLayout, const void*, void*, std::size_t,
                   void*) {
  if (const int status = setting("matmul", 0); status != 0) return status;
  const auto& product = *static_cast<Product*>(desc);
  const auto &x = *static_cast<Layout*>(aLayout), &y = *static_cast<Layout*>(bLayout),
             &z = *static_cast<Layout*>(dLayout);
  const std::uint64_t inner = product.transposeA ? x.rows : x.columns;
  for (std::int32_t at = 0; at < z.count; ++at) {
    for (std::uint64_t i = 0; i < z.rows; ++i) {
      for (std::uint64_t j = 0; j < z.columns; ++j) {
        float sum = 0;
        for (std::uint64_t k = 0; k < inner; ++k) {
          sum += a[at * x.stride + (product.transposeA ? k + i * x.leading : i + k * x.leading)] *
                 b[at * y.stride + (product.transposeB ? j + k * y.leading : k + j * y.leading)];
        }
        const std::size_t place = at * z.stride + i + j * z.leading;
        d[place] = *alpha * sum + (*beta == 0 ? 0 : *beta * c[place]);
      }
    }
  }
  return 0;
}
}
