#include "cpu.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <thread>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace lazy_cpu {

#if defined(LAZY_HAS_AVX512)
namespace avx512 {
extern const KernelTable table;
}
namespace avx2 {
extern const KernelTable table;
}
#endif
#if defined(LAZY_HAS_NEON)
namespace neon {
extern const KernelTable table;
}
#endif
namespace portable {
extern const KernelTable table;
}

#if defined(LAZY_HAS_AVX512)
namespace {

struct Features {
  bool avx2 = false, avx512 = false;
};

// Not __builtin_cpu_supports: the cross compiler's run-time library has an empty stand-in for what it reads.
Features features() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned osxsave = 1u << 27, avx = 1u << 28, fma = 1u << 12;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & (osxsave | avx | fma)) != (osxsave | avx | fma)) return {};
  unsigned saved = 0, high = 0;  // the registers whose state the system saves
  __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return {};
  [[maybe_unused]] constexpr unsigned ymm = 0x06, zmm = 0xe6, avx2 = 1u << 5;
  constexpr unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  Features found;
  found.avx2 = (saved & ymm) == ymm && (b & avx2) != 0;
#if defined(__APPLE__)
  constexpr unsigned needed = ymm;  // macOS saves zmm from its first use on
#else
  constexpr unsigned needed = zmm;
#endif
  found.avx512 = found.avx2 && (saved & needed) == needed && (b & avx512) == avx512;
  return found;
}

// AMX's tiles of bf16, and that the system lets this process have them.
bool hasTiles() {
#if defined(__linux__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d >> 22 & 1) == 0 || (d >> 24 & 1) == 0) return false;
  constexpr long askForPermission = 0x1023, tileData = 18;  // ARCH_REQ_XCOMP_PERM: Linux gives tiles to who asks
  return syscall(SYS_arch_prctl, askForPermission, tileData) == 0;
#else
  return false;
#endif
}

// AVX512-BF16.
bool hasDots() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1) != 0;
}

}  // namespace
#endif

std::vector<Target> runnableTargets() {
  std::vector<Target> targets;
#if defined(LAZY_HAS_AVX512)
  const Features cpu = features();
  if (cpu.avx512) {
    if (hasTiles()) targets.push_back({"amx", &avx512::table, BrainUnit::tiles});
    if (hasDots()) targets.push_back({"avx512bf16", &avx512::table, BrainUnit::dots});
    targets.push_back({"avx512", &avx512::table, BrainUnit::vectors});
  }
  if (cpu.avx2) targets.push_back({"avx2", &avx2::table, BrainUnit::vectors});
#endif
#if defined(LAZY_HAS_NEON)
  targets.push_back({"neon", &neon::table, BrainUnit::vectors});
#endif
  targets.push_back({"portable", &portable::table, BrainUnit::vectors});
  targets.push_back({"emulated", targets.front().table, BrainUnit::emulated});
  return targets;
}

std::string displayName(const std::string& isa) {
  if (isa == "amx") return "AVX-512 with AMX";
  if (isa == "avx512bf16") return "AVX-512 with BF16";
  if (isa == "avx512") return "AVX-512";
  if (isa == "avx2") return "AVX2";
  if (isa == "neon") return "NEON";
  if (isa == "emulated") return "emulated tiles";
  return isa;
}

std::string processorName() {
#if defined(__x86_64__) || defined(__i386__)
  unsigned int words[12] = {};
  for (unsigned int i = 0; i < 3; ++i) {
    if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3])) {
      return "x86-64 processor";
    }
  }
  char text[49] = {};
  std::memcpy(text, words, 48);
  std::string name(text);
  name.erase(0, name.find_first_not_of(' '));
  name.erase(name.find_last_not_of(' ') + 1);
  return name;
#elif defined(__APPLE__)
  char text[128] = {};
  std::size_t size = sizeof text - 1;
  return sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0 ? text : "Apple processor";
#elif defined(__aarch64__)
  return "ARM64 processor";
#else
  return "processor";
#endif
}

int availableThreads() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::size_t availableMemory() {
#if defined(__linux__)
  std::FILE* file = std::fopen("/proc/meminfo", "r");
  if (file == nullptr) return 0;
  char line[128];
  unsigned long long kilobytes = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "MemAvailable: %llu kB", &kilobytes) == 1) break;
  }
  std::fclose(file);
  return static_cast<std::size_t>(kilobytes) * 1024;
#else
  return 0;
#endif
}

}  // namespace lazy_cpu
