#include <cstdlib>
#include <new>
#include <string>

#include "kernel_table.h"
#include "lazy_native/errors.h"

namespace lazy_cpu {

void Runtime::Free::operator()(float* memory) const { ::operator delete(memory, std::align_val_t{64}); }

namespace {

float* newPacks(int threads) {
  const std::size_t bytes = static_cast<std::size_t>(threads) * packFloats * sizeof(float);
  void* memory = ::operator new(bytes, std::align_val_t{64}, std::nothrow);
  if (memory == nullptr) {
    throw ops::OutOfMemory("the system has no memory left for the scratch of " + std::to_string(threads) +
                               " threads (" + std::to_string(bytes) + " bytes); ask for fewer with the option threads",
                           bytes);
  }
  return static_cast<float*>(memory);
}

}  // namespace

Runtime::Runtime(Machine machine) : machine(machine), packs(newPacks(machine.threads)), pool(machine.threads) {}

Runtime::Runtime(Machine machine, ops::Tasks& tasks)
    : machine(machine), packs(newPacks(machine.threads)), pool(machine.threads, tasks) {}

}  // namespace lazy_cpu
