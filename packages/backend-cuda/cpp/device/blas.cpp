#include "device/blas.h"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "device/blas_places.h"

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
constexpr int notSupported = 15;                   // CUBLAS_STATUS_NOT_SUPPORTED
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

struct Close {
  void operator()(void* library) const { dlclose(library); }
};
using Library = std::unique_ptr<void, Close>;

struct Free {
  void operator()(void* memory) const { cudaFree(memory); }
};

// What to call for a product.
struct Plan {
  Object desc, a, b, d;
  Algorithm algorithm;
};

class CublasLt final : public gpu::Blas {
 public:
  CublasLt(Library library, const Api& api)
      : library_(std::move(library)), api_(api), handle_(created(), api.destroy), scratch_(allocated()) {}

  std::string version() const override {
    const std::size_t v = api_.getVersion();
    return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100);
  }

  std::string run(const gpu::Matmul& op, cudaStream_t stream) override {
    const Key key{op.out.dtype, op.batch, op.m, op.n, op.k, op.transposeA, op.transposeB, op.accumulate};
    if (const auto known = failures_.find(key); known != failures_.end()) return known->second;
    try {
      auto found = plans_.find(key);
      if (found == plans_.end()) found = plans_.emplace(key, plan(op)).first;
      call(found->second, op, stream);
      return "";
    } catch (const std::runtime_error& error) {
      cudaGetLastError();  // or the next launch would be told of it
      return failures_[key] = error.what();
    }
  }

 private:
  using Key = std::tuple<gpu::DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool, bool, bool>;

  Opaque created() const {
    Opaque handle = nullptr;
    require(api_.create(&handle), "cublasLtCreate");
    return handle;
  }
  static void* allocated() {
    void* memory = nullptr;
    gpu::check(cudaMalloc(&memory, scratchBytes), "cuBLASLt workspace");
    return memory;
  }

  void call(const Plan& plan, const gpu::Matmul& op, cudaStream_t stream) {
    const float alpha = 1, beta = op.accumulate ? 1 : 0;
    // Its matrices are column-major, so it is asked for out^T = op(b)^T op(a)^T.
    require(api_.matmul(handle_.get(), plan.desc.get(), &alpha, op.b.data, plan.a.get(), op.a.data, plan.b.get(), &beta,
                        op.out.data, plan.d.get(), op.out.data, plan.d.get(), &plan.algorithm, scratch_.get(),
                        scratchBytes, stream),
            "cublasLtMatmul");
  }

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
              {}};
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
    const int status = api_.heuristic(handle_.get(), plan.desc.get(), plan.a.get(), plan.b.get(), plan.d.get(),
                                      plan.d.get(), preference, 1, &heuristic, &count);
    if (status == notSupported || (status == 0 && (count == 0 || heuristic.state != 0))) {
      throw std::runtime_error("it has no algorithm");
    }
    require(status, "cublasLtMatmulAlgoGetHeuristic");
    plan.algorithm = heuristic.algorithm;
    return plan;
  }

  // Destroyed from the last to the first.
  const Library library_;
  const Api api_;
  const Object handle_;
  const std::unique_ptr<void, Free> scratch_;
  std::map<Key, Plan> plans_;
  std::map<Key, std::string> failures_;
};

template <class F>
void resolve(const Library& library, F& function, const char* name) {
  function = reinterpret_cast<F>(dlsym(library.get(), name));
  if (function == nullptr) throw std::runtime_error(std::string("it has no ") + name);
}

Api resolved(const Library& library) {
  Api api{};
  resolve(library, api.create, "cublasLtCreate");
  resolve(library, api.destroy, "cublasLtDestroy");
  resolve(library, api.getVersion, "cublasLtGetVersion");
  resolve(library, api.descCreate, "cublasLtMatmulDescCreate");
  resolve(library, api.descDestroy, "cublasLtMatmulDescDestroy");
  resolve(library, api.descSet, "cublasLtMatmulDescSetAttribute");
  resolve(library, api.layoutCreate, "cublasLtMatrixLayoutCreate");
  resolve(library, api.layoutDestroy, "cublasLtMatrixLayoutDestroy");
  resolve(library, api.layoutSet, "cublasLtMatrixLayoutSetAttribute");
  resolve(library, api.preferenceCreate, "cublasLtMatmulPreferenceCreate");
  resolve(library, api.preferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  resolve(library, api.preferenceSet, "cublasLtMatmulPreferenceSetAttribute");
  resolve(library, api.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  resolve(library, api.matmul, "cublasLtMatmul");
  return api;
}

}  // namespace

std::unique_ptr<gpu::Blas> gpu::loadBlas(std::string& why) {
  for (const std::string& name : blasPlaces()) {
    try {
      Library library(dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL));
      if (!library) throw std::runtime_error(dlerror());
      const Api api = resolved(library);
      return std::make_unique<CublasLt>(std::move(library), api);
    } catch (const std::runtime_error& error) {
      const std::string what = error.what();
      why += (why.empty() ? "" : "; ") + (what.find(name) == std::string::npos ? name + ": " + what : what);
    }
  }
  return nullptr;
}
