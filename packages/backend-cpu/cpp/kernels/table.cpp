#include "kernels.h"

#define LAZY_STRING2(x) #x
#define LAZY_STRING(x) LAZY_STRING2(x)

namespace lazy_cpu {
namespace LAZY_ISA {

extern const KernelTable table;
const KernelTable table = {LAZY_STRING(LAZY_ISA),
                           matmulWorkspace,
                           attentionWorkspace,
                           attentionGradWorkspace,
                           fill,
                           copyRows,
                           binary,
                           scale,
                           sum,
                           sumSquares,
                           matmul,
                           matmuls,
                           rmsNorm,
                           rmsNormGrad,
                           rope,
                           attention,
                           attentionGrad,
                           attentionWeights,
                           elasticSoftmax,
                           elasticSoftmaxGrad,
                           swiglu,
                           swigluGrad,
                           embedding,
                           embeddingGrad,
                           crossEntropy,
                           crossEntropyGrad,
                           adamw,
                           multiplyAdds,
                           readAll,
                           readFourfold};

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
