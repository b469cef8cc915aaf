#include "library.h"

#include <dlfcn.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace lazy_mpi {
namespace {

constexpr int kThreadSerialized = 2;  // in both libraries: calls from any thread, one at a time
constexpr int kLongestVersion = 8192;
constexpr int quickLooks = 20;
constexpr std::chrono::microseconds shortestPause{20}, longestPause{320};

// Linux ends sleeps of a thread 50 us late, unless it is told that these wait for something.
void sleepExactly() {
#ifdef __linux__
  thread_local const int told = prctl(PR_SET_TIMERSLACK, 1);
  static_cast<void>(told);
#endif
}

void check(int code, const char* call) {
  if (code != 0) throw std::runtime_error(std::string(call) + " failed with code " + std::to_string(code));
}

// `Handle` is what MPI_Comm, MPI_Datatype and MPI_Request are: a pointer in Open MPI, an int in MPICH.
template <class Handle>
class LibraryOf final : public Library {
 public:
  LibraryOf(void* library, Handle world, Handle byte, void* noStatus)
      : library_(library), world_(world), byte_(byte), noStatus_(noStatus) {
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

  void barrier() override {
    Handle request{};
    check(function<int(Handle, Handle*)>("MPI_Ibarrier")(world_, &request), "MPI_Ibarrier");
    wait(request);
  }

  void broadcast(void* bytes, int count, int root) override {
    Handle request{};
    auto start = function<int(void*, int, Handle, int, Handle, Handle*)>("MPI_Ibcast");
    check(start(bytes, count, byte_, root, world_, &request), "MPI_Ibcast");
    wait(request);
  }

  void exchange(const void* send, const int* sendCounts, const int* sendOffsets, void* receive,
                const int* receiveCounts, const int* receiveOffsets) override {
    using Signature =
        int(const void*, const int*, const int*, Handle, void*, const int*, const int*, Handle, Handle, Handle*);
    Handle request{};
    check(function<Signature>("MPI_Ialltoallv")(send, sendCounts, sendOffsets, byte_, receive, receiveCounts,
                                                receiveOffsets, byte_, world_, &request),
          "MPI_Ialltoallv");
    wait(request);
  }

  void gather(const void* send, int count, void* receive, const int* counts, const int* offsets) override {
    using Signature = int(const void*, int, Handle, void*, const int*, const int*, Handle, Handle, Handle*);
    Handle request{};
    check(function<Signature>("MPI_Iallgatherv")(send, count, byte_, receive, counts, offsets, byte_, world_, &request),
          "MPI_Iallgatherv");
    wait(request);
  }

  void finalize() override { check(function<int()>("MPI_Finalize")(), "MPI_Finalize"); }

  // MPICH's exits, and what then is taken down while other threads run may crash: the handler that is registered last runs first.
  void abort(int code) override {
    static int exitCode;
    exitCode = code;
    std::atexit([] { std::_Exit(exitCode); });
    function<int(Handle, int)>("MPI_Abort")(world_, code);
  }

 private:
  template <class Signature>
  Signature* function(const char* name) {
    void* symbol = dlsym(library_, name);
    if (symbol == nullptr) throw std::runtime_error(std::string("the library has no function ") + name);
    return reinterpret_cast<Signature*>(symbol);
  }

  // The libraries' own waiting keeps the core to itself, which the compute threads want meanwhile. What is under way takes
  // microseconds; what another rank has not begun may take long, and is looked for ever less often.
  void wait(Handle request) {
    auto test = function<int(Handle*, int*, void*)>("MPI_Test");
    auto pause = shortestPause;
    sleepExactly();
    for (int looks = 0, done = 0;; ++looks) {
      check(test(&request, &done, noStatus_), "MPI_Test");
      if (done != 0) return;
      if (looks < quickLooks) continue;
      std::this_thread::sleep_for(pause);
      pause = std::min(longestPause, pause * 2);
    }
  }

  int number(const char* name) {
    int value = 0;
    check(function<int(Handle, int*)>(name)(world_, &value), name);
    return value;
  }

  void* library_;
  Handle world_;
  Handle byte_;
  void* noStatus_;  // MPI_STATUS_IGNORE
};

}  // namespace

std::unique_ptr<Library> load(const std::string& path) {
  // UCX, which MPICH and Open MPI use, tries its hooks on the heap's end when it starts, and takes away what another thread of ours
  // gets there meanwhile: a crash in one start of twenty. Without the hooks; whoever wants them can say so.
  setenv("UCX_MEM_EVENTS", "no", 0);
  // Global: Open MPI loads plug-ins that look for its symbols. Never closed: MPI cannot be started twice.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  if (void* world = dlsym(library, "ompi_mpi_comm_world")) {
    return std::make_unique<LibraryOf<void*>>(library, world, dlsym(library, "ompi_mpi_byte"), nullptr);
  }
  if (dlsym(library, "MPIR_F_NeedInit") == nullptr && dlsym(library, "MPI_Get_library_version") == nullptr) {
    throw std::runtime_error("it is no MPI library");
  }
  // The handles of MPICH's ABI, which Intel MPI and MVAPICH share: MPI_COMM_WORLD, MPI_BYTE and MPI_STATUS_IGNORE of its mpi.h.
  return std::make_unique<LibraryOf<int>>(library, 0x44000000, 0x4c00010d, reinterpret_cast<void*>(1));
}

}  // namespace lazy_mpi
