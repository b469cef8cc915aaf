// Several tokens in one launch: the layers, the logits and the drawing of each token follow each other without JavaScript in between,
// which takes a compute thread's place for as long as it runs.
#pragma once

#include <cstddef>

#include "dispatch.h"

namespace lazy_cpu {

// Bytes of its workspace.
std::size_t decodeWorkspace(const ops::Decode& op, const Kernels& kernels);
void decode(const ops::Decode& op, const Kernels& kernels, Runtime& runtime, void* workspace);

}  // namespace lazy_cpu
