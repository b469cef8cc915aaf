// Turns a failed CUDA call into the error of the native layer that it stands for.
#pragma once

#ifdef LAZY_EMULATED
#include "emulation/runtime.h"
#else
#include <cuda_runtime.h>
#endif

namespace gpu {

// `what` names the call or kernel. Any error after which the context is of no more use becomes DeviceLost.
void check(cudaError_t error, const char* what);

// CUDA's limit on blocks in y and z. Throws Unsupported, since nothing but the tensors' sizes leads there.
void checkGrid(const char* kernel, unsigned y, unsigned z);

}  // namespace gpu
