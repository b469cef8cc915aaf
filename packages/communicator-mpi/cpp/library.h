// An MPI library, loaded at run time. Open MPI and MPICH have the same functions and different handles: pointers to objects of
// the library in one, numbers in the other. Only bytes are moved, in collectives without statuses or operations, so that
// two handles are all that differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace lazy_mpi {

class Library {
 public:
  virtual ~Library() = default;

  // 'Open MPI v4.1.4, ...', as the library says itself.
  virtual std::string version() = 0;
  virtual int rank() = 0;
  virtual int size() = 0;
  virtual void barrier() = 0;
  virtual void broadcast(void* bytes, int count, int root) = 0;
  // counts and offsets, in bytes, have one entry a rank.
  virtual void exchange(const void* send, const int* sendCounts, const int* sendOffsets, void* receive,
                        const int* receiveCounts, const int* receiveOffsets) = 0;
  virtual void gather(const void* send, int count, void* receive, const int* counts, const int* offsets) = 0;
  virtual void finalize() = 0;
  // Ends all ranks.
  virtual void abort(int code) = 0;
};

// Loads `path`, and starts MPI. Throws std::runtime_error for what is no MPI library, or a failure of it.
std::unique_ptr<Library> load(const std::string& path);

}  // namespace lazy_mpi
