// The driver's description of a tensor for the copies of sm_90a, gpu/hopper.h.
#ifndef LAZY_EMULATED
#include "gpu/hopper.h"

#include <string>

#include "lazy_native/errors.h"

namespace gpu {

namespace {

// From the driver that is there, so that nothing links to it.
decltype(&cuTensorMapEncodeTiled) encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
        "cuTensorMapEncodeTiled");
  if (function == nullptr || found != cudaDriverEntryPointSuccess) {
    throw lazy_native::Unsupported(
        "attention: the driver has no cuTensorMapEncodeTiled; use LAZY_ATTENTION_CUDA_PATH=mma");
  }
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
}

}  // namespace

TensorMap tensorMap(const HeadRows& t, int rows) {
  static const auto encode = encoder();
  const auto u = [](std::int64_t x) { return static_cast<cuuint64_t>(x); };
  const cuuint64_t row = u(t.heads * t.dim * 2);
  const cuuint64_t dims[4] = {u(t.dim), u(t.heads), u(t.rows), u(t.batch)};
  const cuuint64_t strides[3] = {u(t.dim * 2), row, u(t.capacity) * row};
  const cuuint32_t box[4] = {panelColumns, 1, static_cast<cuuint32_t>(rows), 1}, steps[4] = {1, 1, 1, 1};
  const auto type =
      t.dtype == lazy_native::DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  TensorMap map{};
  const CUresult result =
      encode(&map, type, 4, const_cast<void*>(t.data), dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw lazy_native::Unsupported("attention: the driver refuses a tensor map of [" + std::to_string(t.batch) + ", " +
                                   std::to_string(t.rows) + ", " + std::to_string(t.heads) + ", " +
                                   std::to_string(t.dim) + "]: CUDA error " + std::to_string(result) +
                                   "; use LAZY_ATTENTION_CUDA_PATH=mma");
  }
  return map;
}

}  // namespace gpu
#endif
