#include "kernels.h"

#define LAZY_STRING2(x) #x
#define LAZY_STRING(x) LAZY_STRING2(x)

namespace lazy_cpu {
namespace LAZY_ISA {

#define LAZY_OP(name, Op) name,
#define LAZY_KERNEL(name, Result, arguments) name,
extern const KernelTable table;
const KernelTable table = {LAZY_STRING(LAZY_ISA), LAZY_OPS(LAZY_OP) LAZY_KERNELS(LAZY_KERNEL)};

}  // namespace LAZY_ISA
}  // namespace lazy_cpu
