// Waiting awake for a moment before going to sleep.
#pragma once

#include <chrono>

namespace lazy_native {

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Ops and loops follow each other within microseconds, and waking a sleeping thread costs tens of them; so look for
// `done()` for up to 30 us. Longer would take the core from JavaScript and from other programs. Returns what it saw last.
template <class Done>
bool spin(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(30);
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace lazy_native
