#include <cstdlib>
#include <new>

#include "kernel_table.h"

namespace lazy_cpu {

void Runtime::Free::operator()(float* memory) const { ::operator delete(memory, std::align_val_t{64}); }

namespace {

float* newPacks(int threads) {
  return static_cast<float*>(
      ::operator new(static_cast<std::size_t>(threads) * packFloats * sizeof(float), std::align_val_t{64}));
}

}  // namespace

Runtime::Runtime(int threads) : packs(newPacks(threads)), pool(threads) {}

Runtime::Runtime(int threads, ops::Tasks& tasks) : packs(newPacks(threads)), pool(threads, tasks) {}

}  // namespace lazy_cpu
