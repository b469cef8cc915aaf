#include "emulation/fibre.h"

#include <cstdint>
#include <cstring>

namespace emulation {

namespace {
constexpr std::uint64_t canary = 0x5ca1ab1e0ddba115ULL;
}

#if defined(__x86_64__)
// Saves what the System V ABI asks a callee to keep, swaps stacks, restores. swapcontext would add a system call.
extern "C" void lazy_emulation_switch(void** save, void* load);
extern "C" void lazy_emulation_start();
__asm__(R"(
.text
.hidden lazy_emulation_switch
.globl lazy_emulation_switch
lazy_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.hidden lazy_emulation_start
.globl lazy_emulation_start
lazy_emulation_start:
  movq %r12, %rdi
  callq *%r13
  ud2
)");
#elif defined(__aarch64__)
extern "C" void lazy_emulation_switch(void** save, void* load);
extern "C" void lazy_emulation_start();
__asm__(R"(
.text
.hidden lazy_emulation_switch
.globl lazy_emulation_switch
lazy_emulation_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.hidden lazy_emulation_start
.globl lazy_emulation_start
lazy_emulation_start:
  mov x0, x19
  blr x20
  brk #1
)");
#endif

Fibre::Fibre() : stack_(new std::byte[stackBytes]) { std::memcpy(stack_.get(), &canary, sizeof canary); }

bool Fibre::stackIntact() const { return std::memcmp(stack_.get(), &canary, sizeof canary) == 0; }

#if defined(__x86_64__)
void Fibre::prepare(void (*entry)(void*), void* argument) {
  auto top = reinterpret_cast<std::uintptr_t>(stack_.get() + stackBytes) & ~std::uintptr_t{15};
  auto* frame = reinterpret_cast<void**>(top) - 9;  // r15 r14 r13 r12 rbx rbp, return address; then aligned to 16
  frame[0] = frame[1] = nullptr;
  frame[2] = reinterpret_cast<void*>(entry);
  frame[3] = argument;
  frame[4] = frame[5] = nullptr;
  frame[6] = reinterpret_cast<void*>(&lazy_emulation_start);
  own_ = frame;
}
void Fibre::enter() { lazy_emulation_switch(&caller_, own_); }
void Fibre::leave() { lazy_emulation_switch(&own_, caller_); }
#elif defined(__aarch64__)
void Fibre::prepare(void (*entry)(void*), void* argument) {
  auto top = reinterpret_cast<std::uintptr_t>(stack_.get() + stackBytes) & ~std::uintptr_t{15};
  auto* frame = reinterpret_cast<void**>(top - 160);
  std::memset(frame, 0, 160);
  frame[0] = argument;                                         // x19
  frame[1] = reinterpret_cast<void*>(entry);                   // x20
  frame[11] = reinterpret_cast<void*>(&lazy_emulation_start);  // x30
  own_ = frame;
}
void Fibre::enter() { lazy_emulation_switch(&caller_, own_); }
void Fibre::leave() { lazy_emulation_switch(&own_, caller_); }
#else
void Fibre::trampoline(unsigned high, unsigned low) {
  auto* self = reinterpret_cast<Fibre*>((static_cast<std::uintptr_t>(high) << 16 << 16) | low);
  self->entry_(self->argument_);
}
void Fibre::prepare(void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_.get() + sizeof canary;
  own_.uc_stack.ss_size = stackBytes - sizeof canary;
  own_.uc_link = nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(this);
  makecontext(&own_, reinterpret_cast<void (*)()>(&trampoline), 2, static_cast<unsigned>(address >> 16 >> 16),
              static_cast<unsigned>(address));
}
void Fibre::enter() { swapcontext(&caller_, &own_); }
void Fibre::leave() { swapcontext(&own_, &caller_); }
#endif

}  // namespace emulation
