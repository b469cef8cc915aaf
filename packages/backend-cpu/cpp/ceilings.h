// The machine's ceilings, measured with this backend's threads and instruction set.
#pragma once

#include <cstddef>

#include "kernel_table.h"

namespace lazy_cpu {

struct Ceilings {
  double flopsPerSecond;                   // multiply-adds in registers, two operations each
  double copyBytesPerSecond;               // bytes copied, that is, half of what moves
  double readBytesPerSecond;               // of `bytes` of memory, read again and again
  double usualReadBytesPerSecond;          // the same in the median round
  double usualFourfoldReadBytesPerSecond;  // and with every thread reading in four places at a time
};

// Best of several rounds each, but for the usual ones: a ceiling is what the machine reached at all.
Ceilings measureCeilings(const KernelTable& table, int threads, std::size_t bytes);

}  // namespace lazy_cpu
