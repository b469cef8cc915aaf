// Fused decoding, made of the kernels that its ops have: a layer on new tokens, and several tokens in one call, of which all but the
// first are one graph that is launched again for each. What changes from token to token lies in device memory.
#pragma once

#include <cstddef>
#include <functional>

#include "device/graph.h"
#include "device/products.h"
#include "device/report.h"

namespace gpu {

std::size_t workspace(const DecoderLayer& op);
std::size_t workspace(const Decode& op);

// Launches fused ops on a stream.
class Decoder {
 public:
  Decoder(Products& products, Launches& launches, cudaStream_t stream, AttentionPath path)
      : products_(products), launches_(launches), stream_(stream), path_(path) {}

  void run(const DecoderLayer& op, void* workspace) const;
  // Copies from the host, in the stream's order.
  using Upload = std::function<void(void* to, const void* from, std::size_t bytes)>;
  void run(const Decode& op, void* workspace, const Upload& upload);

 private:
  Products& products_;
  Launches& launches_;
  cudaStream_t stream_;
  AttentionPath path_;
  Graph graph_;
};

}  // namespace gpu
