#include <cstdlib>
#include <new>

#include "kernel_table.h"

namespace lazy_cpu {

void Runtime::Free::operator()(float* memory) const { ::operator delete(memory, std::align_val_t{64}); }

Runtime::Runtime(int threads)
    : pool(threads),
      packs(static_cast<float*>(
          ::operator new(static_cast<std::size_t>(threads) * packFloats * sizeof(float), std::align_val_t{64}))) {}

}  // namespace lazy_cpu
