#include "device/blas.h"

#ifdef LAZY_EMULATED

std::unique_ptr<gpu::Blas> gpu::loadBlas(std::string& why) {
  why = "the emulated device has none";
  return nullptr;
}

#else

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <tuple>
#include <vector>

// The part of cuBLASLt's C interface that is used, declared from NVIDIA's documentation (cuBLAS library, "Using the
// cuBLASLt API"); there are no headers without the toolkit's cuBLAS package. The values are part of its stable ABI.
namespace {

using Handle = void*;
using Opaque = void*;
struct Algorithm {
  std::uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  std::size_t workspaceSize;
  int state;
  float wavesCount;
  int reserved[4];
};
constexpr int typeF32 = 0, typeF16 = 2, typeBf16 = 14;  // cudaDataType_t
constexpr int computeF32 = 68;                          // CUBLAS_COMPUTE_32F: no tf32
constexpr int descTransposeA = 3, descTransposeB = 4;   // cublasLtMatmulDescAttributes_t
constexpr int layoutBatchCount = 5, layoutBatchStride = 6;
constexpr int preferenceWorkspace = 1, preferenceReduction = 3;
constexpr std::uint32_t reductionComputeType = 2;  // split sums are added in f32, in a fixed order
constexpr std::size_t scratchBytes = std::size_t{32} << 20;

struct Api {
  int (*create)(Handle*);
  int (*destroy)(Handle);
  std::size_t (*getVersion)();
  int (*descCreate)(Opaque*, int computeType, int scaleType);
  int (*descDestroy)(Opaque);
  int (*descSet)(Opaque, int attribute, const void*, std::size_t);
  int (*layoutCreate)(Opaque*, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t leading);
  int (*layoutDestroy)(Opaque);
  int (*layoutSet)(Opaque, int attribute, const void*, std::size_t);
  int (*preferenceCreate)(Opaque*);
  int (*preferenceDestroy)(Opaque);
  int (*preferenceSet)(Opaque, int attribute, const void*, std::size_t);
  int (*heuristic)(Handle, Opaque desc, Opaque a, Opaque b, Opaque c, Opaque d, Opaque preference, int wanted,
                   Heuristic*, int* found);
  int (*matmul)(Handle, Opaque desc, const void* alpha, const void* a, Opaque aLayout, const void* b, Opaque bLayout,
                const void* beta, const void* c, Opaque cLayout, void* d, Opaque dLayout, const Algorithm*,
                void* workspace, std::size_t workspaceBytes, cudaStream_t);
};

// Any of cuBLASLt's objects.
class Object {
 public:
  Object(Opaque value, int (*destroy)(Opaque)) : value_(value), destroy_(destroy) {}
  ~Object() {
    if (value_ != nullptr) destroy_(value_);
  }
  Object(Object&& other) noexcept : value_(other.value_), destroy_(other.destroy_) { other.value_ = nullptr; }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  Object& operator=(Object&&) = delete;
  Opaque get() const { return value_; }

 private:
  Opaque value_;
  int (*destroy_)(Opaque);
};

void require(int status, const char* what) {
  if (status != 0) throw std::runtime_error(std::string(what) + " failed with cuBLAS status " + std::to_string(status));
}

// A product that has been looked up: what to call, or that there is nothing to call.
struct Plan {
  Object desc, a, b, d;
  Algorithm algorithm;
  bool usable;
};

class CublasLt final : public gpu::Blas {
 public:
  CublasLt(void* library, const Api& api) : library_(library), api_(api) {
    require(api_.create(&handle_), "cublasLtCreate");
    gpu::check(cudaMalloc(&scratch_, scratchBytes), "cuBLASLt workspace");
  }
  ~CublasLt() override {
    plans_.clear();
    api_.destroy(handle_);
    cudaFree(scratch_);
    dlclose(library_);
  }
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  std::string version() const override {
    const std::size_t v = api_.getVersion();
    return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100);
  }

  bool run(const gpu::Matmul& op, cudaStream_t stream) override {
    const Key key{op.out.dtype, op.batch, op.m, op.n, op.k, op.transposeA, op.transposeB, op.accumulate};
    auto found = plans_.find(key);
    if (found == plans_.end()) found = plans_.emplace(key, plan(op)).first;
    const Plan& plan = found->second;
    if (!plan.usable) return false;
    const float alpha = 1, beta = op.accumulate ? 1 : 0;
    // Its matrices are column-major, so it is asked for out^T = op(b)^T op(a)^T.
    require(api_.matmul(handle_, plan.desc.get(), &alpha, op.b.data, plan.a.get(), op.a.data, plan.b.get(), &beta,
                        op.out.data, plan.d.get(), op.out.data, plan.d.get(), &plan.algorithm, scratch_, scratchBytes,
                        stream),
            "cublasLtMatmul");
    return true;
  }

 private:
  using Key = std::tuple<gpu::DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool, bool, bool>;

  Object layout(int type, std::int64_t rows, std::int64_t columns, std::int64_t batch) {
    Opaque value = nullptr;
    require(
        api_.layoutCreate(&value, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns), rows),
        "cublasLtMatrixLayoutCreate");
    Object object(value, api_.layoutDestroy);
    const auto count = static_cast<std::int32_t>(batch);
    const std::int64_t stride = rows * columns;
    require(api_.layoutSet(value, layoutBatchCount, &count, sizeof count), "cublasLtMatrixLayoutSetAttribute");
    require(api_.layoutSet(value, layoutBatchStride, &stride, sizeof stride), "cublasLtMatrixLayoutSetAttribute");
    return object;
  }

  Plan plan(const gpu::Matmul& op) {
    const int type = op.out.dtype == gpu::DType::f32 ? typeF32 : op.out.dtype == gpu::DType::f16 ? typeF16 : typeBf16;
    Opaque value = nullptr;
    require(api_.descCreate(&value, computeF32, typeF32), "cublasLtMatmulDescCreate");
    Plan plan{Object(value, api_.descDestroy),
              op.transposeB ? layout(type, op.k, op.n, op.batch) : layout(type, op.n, op.k, op.batch),
              op.transposeA ? layout(type, op.m, op.k, op.batch) : layout(type, op.k, op.m, op.batch),
              layout(type, op.n, op.m, op.batch),
              {},
              false};
    const std::int32_t first = op.transposeB ? 1 : 0, second = op.transposeA ? 1 : 0;
    require(api_.descSet(value, descTransposeA, &first, sizeof first), "cublasLtMatmulDescSetAttribute");
    require(api_.descSet(value, descTransposeB, &second, sizeof second), "cublasLtMatmulDescSetAttribute");
    Opaque preference = nullptr;
    require(api_.preferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    const Object owner(preference, api_.preferenceDestroy);
    const std::uint64_t limit = scratchBytes;
    require(api_.preferenceSet(preference, preferenceWorkspace, &limit, sizeof limit),
            "cublasLtMatmulPreferenceSetAttribute");
    require(api_.preferenceSet(preference, preferenceReduction, &reductionComputeType, sizeof reductionComputeType),
            "cublasLtMatmulPreferenceSetAttribute");
    Heuristic heuristic{};
    int count = 0;
    const int status = api_.heuristic(handle_, plan.desc.get(), plan.a.get(), plan.b.get(), plan.d.get(), plan.d.get(),
                                      preference, 1, &heuristic, &count);
    plan.usable = status == 0 && count > 0 && heuristic.state == 0;
    plan.algorithm = heuristic.algorithm;
    return plan;
  }

  void* library_;
  const Api api_;
  Handle handle_ = nullptr;
  void* scratch_ = nullptr;
  std::map<Key, Plan> plans_;
};

template <class F>
bool resolve(void* library, F& function, const char* name, std::string& why) {
  function = reinterpret_cast<F>(dlsym(library, name));
  if (function == nullptr) why = std::string("cuBLASLt has no ") + name;
  return function != nullptr;
}

}  // namespace

std::unique_ptr<gpu::Blas> gpu::loadBlas(std::string& why) {
  const char* named = std::getenv("LAZY_ATTENTION_CUBLASLT");
  std::vector<std::string> names;
  if (named != nullptr && *named != '\0') {
    names.emplace_back(named);
  } else {
    for (const char* version : {"13", "12"}) names.push_back(std::string("libcublasLt.so.") + version);
    names.emplace_back("/usr/local/cuda/lib64/libcublasLt.so");
  }
  for (const std::string& name : names) {
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      why += (why.empty() ? "" : "; ") + std::string(dlerror());
      continue;
    }
    Api api{};
    if (resolve(library, api.create, "cublasLtCreate", why) && resolve(library, api.destroy, "cublasLtDestroy", why) &&
        resolve(library, api.getVersion, "cublasLtGetVersion", why) &&
        resolve(library, api.descCreate, "cublasLtMatmulDescCreate", why) &&
        resolve(library, api.descDestroy, "cublasLtMatmulDescDestroy", why) &&
        resolve(library, api.descSet, "cublasLtMatmulDescSetAttribute", why) &&
        resolve(library, api.layoutCreate, "cublasLtMatrixLayoutCreate", why) &&
        resolve(library, api.layoutDestroy, "cublasLtMatrixLayoutDestroy", why) &&
        resolve(library, api.layoutSet, "cublasLtMatrixLayoutSetAttribute", why) &&
        resolve(library, api.preferenceCreate, "cublasLtMatmulPreferenceCreate", why) &&
        resolve(library, api.preferenceDestroy, "cublasLtMatmulPreferenceDestroy", why) &&
        resolve(library, api.preferenceSet, "cublasLtMatmulPreferenceSetAttribute", why) &&
        resolve(library, api.heuristic, "cublasLtMatmulAlgoGetHeuristic", why) &&
        resolve(library, api.matmul, "cublasLtMatmul", why)) {
      return std::make_unique<CublasLt>(library, api);
    }
    dlclose(library);
  }
  return nullptr;
}

#endif
