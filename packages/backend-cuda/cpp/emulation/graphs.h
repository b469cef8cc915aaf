// Streams and graphs of the emulated runtime. A stream that is captured runs nothing: what is asked of it is kept, in order and
// with its own copy of its arguments, until a graph is launched. As in CUDA, asking a captured stream to wait breaks the capture.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "emulation/runtime_types.h"

namespace emulation {

// A kernel, or a copy or fill of memory.
struct Node {
  enum class Kind { kernel, copy, fill } kind;
  std::string name;
  std::function<void()> work;
};

struct Graph {
  std::vector<Node> nodes;
};

struct Stream {
  Graph* recorded = nullptr;  // while it is captured
  bool broken = false;        // by a call that a capture forbids
};

// Runs the node, or keeps it where the stream is captured.
void perform(Stream* stream, Node node);
// What a call that waits for the stream answers: cudaSuccess unless it is captured, which then is of no more use.
cudaError_t refuseCaptured(Stream* stream);

// What tests count.
struct GraphCounts {
  int captures = 0, instantiations = 0, updates = 0, launches = 0;
};
GraphCounts& graphCounts();

}  // namespace emulation
