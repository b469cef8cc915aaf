// Elements that one load brings.
#pragma once

namespace gpu {

template <class T, int count>
struct alignas(count * sizeof(T)) Run {
  T x[count];
};

}  // namespace gpu
