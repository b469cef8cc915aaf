// Waiting awake for a moment before going to sleep.
#pragma once

#include <chrono>
#include <thread>

namespace lazy_native {

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Ops and loops follow each other within microseconds, and waking a sleeping thread costs tens of them, on a virtual machine
// hundreds. So look for `done()`, at first without pause, then giving the core to whoever else wants it: JavaScript, which must
// be able to answer what it has just been told. Returns what it saw last.
//
// Three microseconds: after 10 JavaScript waited longer for its core than the work took (docs/kernels/cpu.md).
template <class Done>
bool spin(const Done& done) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  while (Clock::now() < start + std::chrono::microseconds(3)) {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      relax();
    }
  }
  while (Clock::now() < start + std::chrono::microseconds(500)) {
    if (done()) return true;
    std::this_thread::yield();
  }
  return done();
}

}  // namespace lazy_native
