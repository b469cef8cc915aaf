#include "library.h"

#include <dlfcn.h>

#include <stdexcept>

namespace lazy_mpi {
namespace {

constexpr int kThreadSerialized = 2;  // in both libraries: calls from any thread, one at a time
constexpr int kLongestVersion = 8192;

void check(int code, const char* call) {
  if (code != 0) throw std::runtime_error(std::string(call) + " failed with code " + std::to_string(code));
}

// `Handle` is what MPI_Comm and MPI_Datatype are: a pointer in Open MPI, an int in MPICH.
template <class Handle>
class LibraryOf final : public Library {
 public:
  LibraryOf(void* library, Handle world, Handle byte) : library_(library), world_(world), byte_(byte) {
    auto initialized = function<int(int*)>("MPI_Initialized");
    int running = 0;
    check(initialized(&running), "MPI_Initialized");
    if (running != 0) return;
    int provided = 0;
    auto init = function<int(int*, char***, int, int*)>("MPI_Init_thread");
    check(init(nullptr, nullptr, kThreadSerialized, &provided), "MPI_Init_thread");
    if (provided < kThreadSerialized) throw std::runtime_error("the library was built without support for threads");
  }

  std::string version() override {
    std::string text(kLongestVersion, '\0');
    int length = 0;
    check(function<int(char*, int*)>("MPI_Get_library_version")(text.data(), &length), "MPI_Get_library_version");
    return std::string(text.c_str());
  }

  int rank() override { return number("MPI_Comm_rank"); }
  int size() override { return number("MPI_Comm_size"); }
  void barrier() override { check(function<int(Handle)>("MPI_Barrier")(world_), "MPI_Barrier"); }

  void broadcast(void* bytes, int count, int root) override {
    check(function<int(void*, int, Handle, int, Handle)>("MPI_Bcast")(bytes, count, byte_, root, world_), "MPI_Bcast");
  }

  void exchange(const void* send, const int* sendCounts, const int* sendOffsets, void* receive,
                const int* receiveCounts, const int* receiveOffsets) override {
    using Signature = int(const void*, const int*, const int*, Handle, void*, const int*, const int*, Handle, Handle);
    check(function<Signature>("MPI_Alltoallv")(send, sendCounts, sendOffsets, byte_, receive, receiveCounts,
                                               receiveOffsets, byte_, world_),
          "MPI_Alltoallv");
  }

  void gather(const void* send, int count, void* receive, const int* counts, const int* offsets) override {
    using Signature = int(const void*, int, Handle, void*, const int*, const int*, Handle, Handle);
    check(function<Signature>("MPI_Allgatherv")(send, count, byte_, receive, counts, offsets, byte_, world_),
          "MPI_Allgatherv");
  }

  void finalize() override { check(function<int()>("MPI_Finalize")(), "MPI_Finalize"); }
  void abort(int code) override { function<int(Handle, int)>("MPI_Abort")(world_, code); }

 private:
  template <class Signature>
  Signature* function(const char* name) {
    void* symbol = dlsym(library_, name);
    if (symbol == nullptr) throw std::runtime_error(std::string("the library has no function ") + name);
    return reinterpret_cast<Signature*>(symbol);
  }

  int number(const char* name) {
    int value = 0;
    check(function<int(Handle, int*)>(name)(world_, &value), name);
    return value;
  }

  void* library_;
  Handle world_;
  Handle byte_;
};

}  // namespace

std::unique_ptr<Library> load(const std::string& path) {
  // Global: Open MPI loads plug-ins that look for its symbols. Never closed: MPI cannot be started twice.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  if (void* world = dlsym(library, "ompi_mpi_comm_world")) {
    return std::make_unique<LibraryOf<void*>>(library, world, dlsym(library, "ompi_mpi_byte"));
  }
  if (dlsym(library, "MPIR_F_NeedInit") == nullptr && dlsym(library, "MPI_Get_library_version") == nullptr) {
    throw std::runtime_error("it is no MPI library");
  }
  // The handles of MPICH's ABI, which Intel MPI and MVAPICH share: MPI_COMM_WORLD and MPI_BYTE of its mpi.h.
  return std::make_unique<LibraryOf<int>>(library, 0x44000000, 0x4c00010d);
}

}  // namespace lazy_mpi
