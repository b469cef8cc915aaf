// Where cuBLASLt may lie.
#pragma once

#include <string>
#include <vector>

namespace gpu {

// Names for dlopen, newest version first. LAZY_ATTENTION_CUBLASLT alone where it is set; else what the loader finds by itself,
// then files in /usr/local/cuda*, then those of NVIDIA's packages in Python's site-packages (of VIRTUAL_ENV, CONDA_PREFIX,
// PYTHONPATH, HOME, and beside the folders of PATH).
std::vector<std::string> blasPlaces();

}  // namespace gpu
