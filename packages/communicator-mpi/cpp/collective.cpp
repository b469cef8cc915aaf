#include "collective.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lazy_mpi {
namespace {

// Bytes of one collective: MPI counts in int.
constexpr std::size_t kLargest = std::size_t{1} << 28;

// MPI_Allreduce may add in another order for another size or network. Here each rank owns a stretch: it gets that of all
// others, adds them in order and gives the sum to all. As many bytes are moved as in the best ring: 2 (n - 1) / n of them.
template <class T>
void reduceChunk(Library& mpi, T* values, std::size_t count, std::vector<T>& received) {
  const int ranks = mpi.size();
  const int me = mpi.rank();
  std::vector<int> counts(ranks);
  std::vector<int> offsets(ranks);
  const std::size_t share = (count + ranks - 1) / ranks;
  for (int r = 0; r < ranks; r++) {
    const std::size_t from = std::min(count, r * share);
    counts[r] = static_cast<int>((std::min(count, from + share) - from) * sizeof(T));
    offsets[r] = static_cast<int>(from * sizeof(T));
  }
  const std::size_t mine = counts[me] / sizeof(T);
  std::vector<int> ownCounts(ranks, counts[me]);
  std::vector<int> ownOffsets(ranks);
  for (int r = 0; r < ranks; r++) ownOffsets[r] = r * counts[me];
  received.resize(std::max<std::size_t>(1, mine * ranks));
  mpi.exchange(values, counts.data(), offsets.data(), received.data(), ownCounts.data(), ownOffsets.data());
  for (int r = 1; r < ranks; r++) {
    const T* other = received.data() + r * mine;
    for (std::size_t i = 0; i < mine; i++) received[i] += other[i];
  }
  mpi.gather(received.data(), counts[me], values, counts.data(), offsets.data());
}

}  // namespace

template <class T>
void allReduce(Library& mpi, T* values, std::size_t count) {
  static std::vector<T> received;  // kept: one call at a time, and new memory costs more than the sum
  const std::size_t step = kLargest / sizeof(T);
  for (std::size_t done = 0; done < count; done += step) {
    reduceChunk(mpi, values + done, std::min(step, count - done), received);
  }
}

template void allReduce<float>(Library&, float*, std::size_t);
template void allReduce<double>(Library&, double*, std::size_t);

void broadcast(Library& mpi, unsigned char* bytes, std::size_t count, int root) {
  for (std::size_t done = 0; done < count; done += kLargest) {
    mpi.broadcast(bytes + done, static_cast<int>(std::min(kLargest, count - done)), root);
  }
}

}  // namespace lazy_mpi
