// What the emulation's tests share.
#pragma once

#include <cstdio>
#include <functional>
#include <string>

#include "emulation/machine.h"

inline int checks = 0, failures = 0;

inline void expect(bool condition, const std::string& what) {
  checks += 1;
  if (condition) return;
  failures += 1;
  std::printf("FAILED: %s\n", what.c_str());
}

inline std::string run(unsigned threads, std::size_t sharedBytes, const std::function<void()>& kernel,
                       unsigned blocks = 1) {
  return emulation::machine().launch("kernel", {blocks, 1, 1}, {threads, 1, 1}, sharedBytes, kernel);
}

inline void expectClean(const std::string& what, const std::string& report) {
  expect(report.empty(), what + ": " + report);
}
inline void expectReport(const std::string& what, const std::string& report, const std::string& part) {
  expect(report.find(part) != std::string::npos, what + ": wanted '" + part + "', got '" + report + "'");
}

// hopper_tests.cpp
void hopperTests();
// graph_tests.cpp
void graphTests();
