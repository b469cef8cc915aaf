// Declarations of the functions that make one KernelTable; table.cpp lists them.
#pragma once

#include "../kernel_table.h"
#include "simd.h"

namespace lazy_cpu {
namespace LAZY_ISA {

inline float* floats(const ops::Tensor& tensor) { return static_cast<float*>(tensor.data); }
inline std::int32_t* integers(const ops::Tensor& tensor) { return static_cast<std::int32_t*>(tensor.data); }

std::size_t matmulWorkspace(const ops::Matmul&, int threads);
std::size_t attentionWorkspace(const ops::AttentionInputs&, int threads);
std::size_t attentionGradWorkspace(const ops::AttentionInputs&, int threads);

void fill(const ops::Fill&, Runtime&);
void copyRows(const ops::CopyRows&, Runtime&);
void binary(const ops::Binary&, Runtime&);
void scale(const ops::Scale&, Runtime&);
void sum(const ops::Sum&, Runtime&, double* partials);
void sumSquares(const ops::SumSquares&, Runtime&, double* partials);
void matmul(const ops::Matmul&, Runtime&, float* workspace);
void matmuls(const ops::Matmul* products, int count, Runtime&, float* workspace);
void rmsNorm(const ops::RmsNorm&, Runtime&);
void rmsNormGrad(const ops::RmsNormGrad&, Runtime&, float* partials);
void rope(const ops::Rope&, Runtime&);
void attention(const ops::Attention&, Runtime&, float* workspace);
void attentionGrad(const ops::AttentionGrad&, Runtime&, float* workspace);
void attentionWeights(const ops::AttentionWeights&, Runtime&, float* workspace);
void elasticSoftmax(const ops::ElasticSoftmax&, Runtime&);
void elasticSoftmaxGrad(const ops::ElasticSoftmaxGrad&, Runtime&, double* partials);
void swiglu(const ops::Swiglu&, Runtime&);
void swigluGrad(const ops::SwigluGrad&, Runtime&);
void embedding(const ops::Embedding&, Runtime&);
void embeddingGrad(const ops::EmbeddingGrad&, Runtime&);
void crossEntropy(const ops::CrossEntropy&, Runtime&, double* partials);
void crossEntropyGrad(const ops::CrossEntropyGrad&, Runtime&);
void adamw(const ops::AdamW&, Runtime&);
double multiplyAdds(std::int64_t rounds, float* sink);
float readAll(const float* data, std::int64_t count);
float readFourfold(const float* data, std::int64_t count);

// Decoding and other products with few rows (matmul_thin.cpp): true when it took the problems.
bool matmulThin(const ops::Matmul* products, int count, Runtime&);
// Attention of a few query rows over unpacked keys (attention_decode.cpp).
bool decodes(const ops::AttentionSizes&, bool save);
void attentionDecode(const ops::Attention&, Runtime&, float* workspace);
std::size_t decodeFloats(const ops::AttentionInputs&);  // of all threads together

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
