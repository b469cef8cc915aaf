// What kernels for sm_90a are written against, beside gpu/target.h; on the host, emulation/hopper.h checks each rule.
//
//   Phases                                     8 bytes of shared memory: a barrier that counts arrivals and bytes, in phases
//   initPhases phasesReady                     made by one thread, who then says so; a __syncthreads before others use it
//   arrive arriveExpecting awaitPhase          a wait names the parity of the phase that must be over
//   TensorMap tensorMap(HeadRows, rows)        of the host: [batch, rows, heads, dim] in boxes of `rows` rows and 64 elements
//   copyTile                                   a box into shared memory, 128-byte rows swizzled, zeros where the tensor ends;
//                                              one thread starts it, its bytes arrive at a barrier
//   awaitTurnInline                            awaitTurn that ends in a trap, not in a call, which products would not cross
//   copyRow                                    elements in a row, a multiple of 16 bytes, in the same way
//   proxyFence                                 what this thread wrote to shared memory may be read by products
//   namedBarrier<id, threads>                  of some warps of the block
//   keepRegisters<n> takeRegisters<n>          setmaxnreg: fewer, more
//   operandAt(at, stride, lead)                where a product finds a tile: `stride` bytes between groups of 8 rows; for a
//                                              tile read across, `lead` bytes between panels of 64 elements
//   multiply<T, acrossB>(d, a, b, add)         wgmma of 64 rows, 16 deep, as wide as d: a from registers, or a tile that is 64
//   multiply<T, acrossA, acrossB>(...)         rows of 16; b^T: rows are columns of the product, or, across, b: rows are summed
//   fenceProducts commitProducts awaitProducts<groups left>(registers...)   all registers that the products used
#pragma once

#include "gpu/target.h"
#include "lazy_native/ops.h"

namespace gpu {

// Rows of a tensor [batch, rows, heads, dim] with elements of 2 bytes, of which `capacity` rows lie between two sequences.
struct HeadRows {
  const void* data;
  lazy_native::DType dtype;
  std::int64_t batch, rows, capacity, heads, dim;
};

inline constexpr int panelColumns = 64, panelRowBytes = 128;

}  // namespace gpu

#ifdef LAZY_EMULATED
#include "emulation/hopper.h"
#else
#include "gpu/cuda_hopper.h"
#endif
