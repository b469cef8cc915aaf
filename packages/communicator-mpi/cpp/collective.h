// Sums over ranks that are the same bit for bit on every rank and in every run.
#pragma once

#include <cstddef>

#include "library.h"

namespace lazy_mpi {

// Element i of `values` becomes the sum of element i of all ranks, added in the order of the ranks.
template <class T>
void allReduce(Library& mpi, T* values, std::size_t count);

// The `count` bytes of rank `root` on every rank.
void broadcast(Library& mpi, unsigned char* bytes, std::size_t count, int root);

}  // namespace lazy_mpi
