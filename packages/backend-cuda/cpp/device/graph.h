// Work that is launched again and again: recorded once, then handed to the driver in one call.
#pragma once

#include "device/check.h"

namespace gpu {

class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Keeps what `work` launches on the stream; nothing of it runs. Kernels must have been loaded: CUDA loads them at their first
  // launch, which a capture may not contain. What was recorded before is overwritten where only arguments differ, which is cheaper.
  template <class Work>
  void record(cudaStream_t stream, const Work& work) {
    Capture capture(stream);
    work();
    replace(capture.end());
  }
  void launch(cudaStream_t stream) const;

 private:
  // Ends the capture also when recording fails: the stream must work again.
  class Capture {
   public:
    explicit Capture(cudaStream_t stream);
    ~Capture();
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    cudaGraph_t end();

   private:
    cudaStream_t stream_;
    bool open_ = true;
  };
  void replace(cudaGraph_t recorded);

  cudaGraphExec_t exec_ = nullptr;
};

}  // namespace gpu
