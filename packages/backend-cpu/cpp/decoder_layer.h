// A decoder layer in one launch, made of the kernels that its ops have: what it spares is launching and queueing a dozen ops,
// which in decoding takes as long as they do, and two waits, since q, k and v are one loop, and gate and up another.
#pragma once

#include <cstddef>

#include "dispatch.h"

namespace lazy_cpu {

// Bytes of its workspace.
std::size_t decoderLayerWorkspace(const ops::DecoderLayer& op, const Kernels& kernels);
void decoderLayer(const ops::DecoderLayer& op, const Kernels& kernels, Runtime& runtime, void* workspace);

}  // namespace lazy_cpu
