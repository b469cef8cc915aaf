#include "device/graph.h"

#include <memory>
#include <utility>

namespace gpu {

// Other threads may ask for memory meanwhile.
Graph::Capture::Capture(cudaStream_t stream) : stream_(stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "graph: begin");
}

Graph::Capture::~Capture() {
  cudaGraph_t unfinished = nullptr;
  if (!open_) return;
  cudaStreamEndCapture(stream_, &unfinished);
  if (unfinished != nullptr) cudaGraphDestroy(unfinished);
  cudaGetLastError();  // the next launch must not see it
}

cudaGraph_t Graph::Capture::end() {
  cudaGraph_t graph = nullptr;
  open_ = false;
  check(cudaStreamEndCapture(stream_, &graph), "graph: end");
  return graph;
}

Graph::~Graph() {
  if (exec_ != nullptr) cudaGraphExecDestroy(exec_);
}

void Graph::replace(cudaGraph_t recorded) {
  const auto destroy = [](cudaGraph_t graph) { cudaGraphDestroy(graph); };
  const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, decltype(destroy)> owner(recorded, destroy);
  if (exec_ != nullptr) {
    cudaGraphExecUpdateResultInfo info{};
    if (cudaGraphExecUpdate(exec_, recorded, &info) == cudaSuccess) return;
    cudaGetLastError();  // another model: made anew
    cudaGraphExecDestroy(std::exchange(exec_, nullptr));
  }
  check(cudaGraphInstantiate(&exec_, recorded, 0), "graph: instantiate");
}

void Graph::launch(cudaStream_t stream) const { check(cudaGraphLaunch(exec_, stream), "graph: launch"); }

}  // namespace gpu
