#include "emulation/graphs.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "emulation/runtime.h"

// A copy of what was recorded: the graph may go.
struct EmulatedGraphExec {
  std::vector<emulation::Node> nodes;
};

namespace emulation {

void perform(Stream* stream, Node node) {
  if (stream == nullptr || stream->recorded == nullptr) return node.work();
  stream->recorded->nodes.push_back(std::move(node));
}

cudaError_t refuseCaptured(Stream* stream) {
  if (stream == nullptr || stream->recorded == nullptr) return cudaSuccess;
  stream->broken = true;
  return cudaErrorStreamCaptureUnsupported;
}

GraphCounts& graphCounts() {
  static GraphCounts counts;
  return counts;
}

}  // namespace emulation

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new emulation::Stream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  // The default stream cannot be captured.
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  if (stream->recorded != nullptr) return cudaErrorIllegalState;
  stream->recorded = new emulation::Graph;
  stream->broken = false;
  emulation::graphCounts().captures += 1;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream == nullptr || stream->recorded == nullptr) return cudaErrorIllegalState;
  std::unique_ptr<emulation::Graph> recorded(std::exchange(stream->recorded, nullptr));
  if (stream->broken) return cudaErrorStreamCaptureInvalidated;
  *graph = recorded.release();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (graph == nullptr) return cudaErrorInvalidValue;
  *exec = new EmulatedGraphExec{graph->nodes};
  emulation::graphCounts().instantiations += 1;
  return cudaSuccess;
}

// As in CUDA, nodes may get other arguments and grids, and kernels other functions, but their number and kinds stay.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* info) {
  const auto sameKind = [](const emulation::Node& a, const emulation::Node& b) { return a.kind == b.kind; };
  const bool same =
      std::equal(exec->nodes.begin(), exec->nodes.end(), graph->nodes.begin(), graph->nodes.end(), sameKind);
  info->result = same ? 0 : 1;
  if (!same) return cudaErrorGraphExecUpdateFailure;
  exec->nodes = graph->nodes;
  emulation::graphCounts().updates += 1;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (const cudaError_t refused = emulation::refuseCaptured(stream); refused != cudaSuccess) return refused;
  emulation::graphCounts().launches += 1;
  for (const emulation::Node& node : exec->nodes) node.work();
  return cudaSuccess;
}
