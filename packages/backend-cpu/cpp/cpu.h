// What this processor is and which builds of the kernels it can run.
#pragma once

#include <string>
#include <vector>

#include "kernel_table.h"

namespace lazy_cpu {

// An instruction set by its name: a build of the kernels, and what products of bf16 run on.
struct Target {
  const char* isa;
  const KernelTable* table;
  BrainUnit unit;
};

// What is in this binary and the processor runs, best first. Never empty: the last one needs nothing.
std::vector<Target> runnableTargets();
// For people: 'avx512' -> 'AVX-512'.
std::string displayName(const std::string& isa);
// 'Intel(R) Xeon(R) Processor', or the architecture where the processor does not say.
std::string processorName();
// Threads that this process may run at once.
int availableThreads();
// Bytes of memory that could be had without swapping; 0 where the system does not say.
std::size_t availableMemory();

}  // namespace lazy_cpu
