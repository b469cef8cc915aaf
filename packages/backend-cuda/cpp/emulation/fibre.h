// Fibres: stacks that hand the processor to each other by hand, one per thread of an emulated block.
#pragma once

#include <cstddef>
#include <memory>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace emulation {

class Fibre {
 public:
  static constexpr std::size_t stackBytes = 96 * 1024;

  Fibre();
  // Arranges that the next `enter` calls entry(argument) on this fibre's own stack. Whatever ran there is forgotten.
  void prepare(void (*entry)(void*), void* argument);
  // Runs this fibre until it calls `leave`.
  void enter();
  // Back to the caller of `enter`. Called on the fibre itself.
  void leave();
  // False once the fibre has run over the end of its stack.
  bool stackIntact() const;

 private:
  std::unique_ptr<std::byte[]> stack_;
#if defined(__x86_64__) || defined(__aarch64__)
  void* own_ = nullptr;     // saved stack pointer of the fibre
  void* caller_ = nullptr;  // saved stack pointer of whoever entered it
#else
  ucontext_t own_{}, caller_{};
  static void trampoline(unsigned high, unsigned low);
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
#endif
};

}  // namespace emulation
