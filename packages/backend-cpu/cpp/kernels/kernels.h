// Declarations of the functions that make one KernelTable, and of those that kernels share.
#pragma once

#include "../kernel_table.h"
#include "simd.h"

namespace lazy_cpu {
namespace LAZY_ISA {

inline float* floats(const ops::Tensor& tensor) { return static_cast<float*>(tensor.data); }
inline std::int32_t* integers(const ops::Tensor& tensor) { return static_cast<std::int32_t*>(tensor.data); }

#define LAZY_OP(name, Op) void name(const ops::Op&, Runtime&, void* workspace);
#define LAZY_KERNEL(name, Result, arguments) Result name arguments;
LAZY_OPS(LAZY_OP)
LAZY_KERNELS(LAZY_KERNEL)
#undef LAZY_KERNEL
#undef LAZY_OP

// Decoding and other products with few rows (matmul_thin.cpp): true when it took the problems.
bool matmulThin(const ops::Matmul* products, int count, Runtime&);
// Products of bf16 (matmul_brain.cpp).
std::size_t brainWorkspace(const ops::Matmul&, int threads);
void matmulBrain(const ops::Matmul&, Runtime&, void* workspace);
// Attention of bf16 on tiles (attention_brain.cpp).
std::size_t attentionBrainFloats(const ops::AttentionInputs&, int threads);
void attentionBrain(const ops::Attention&, Runtime&, float* workspace);
std::size_t attentionGradBrainBytes(const ops::AttentionInputs&, int threads);
void attentionGradBrain(const ops::AttentionGrad&, Runtime&, float* workspace);
// Attention of a few query rows over unpacked keys (attention_decode.cpp).
void attentionDecode(const ops::Attention&, Runtime&, float* workspace);

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
