// libstdc++'s random_device asks glibc for arc4random, which came with 2.36. Ours keeps the addon loadable from 2.35 on.
#if defined(__linux__) && !defined(LAZY_EMULATED)
#include <sys/random.h>

#include <cstdint>
#include <cstdlib>

extern "C" __attribute__((visibility("hidden"))) std::uint32_t arc4random() {
  std::uint32_t value = 0;
  if (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) std::abort();
  return value;
}
#endif
