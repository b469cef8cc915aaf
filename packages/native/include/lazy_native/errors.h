// What a device may throw. The layer turns each into the error class of the same name in packages/core.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace lazy_native {

// Thrown by Device::allocate when `bytes` cannot be had. The layer gives cached memory back, tries again, and only then
// reports it, with what is free and what is held.
class OutOfMemory : public std::runtime_error {
 public:
  OutOfMemory(const std::string& message, std::size_t requestedBytes)
      : std::runtime_error(message), requestedBytes(requestedBytes) {}
  const std::size_t requestedBytes;
};

// The device is gone (illegal access, driver reset). The layer runs nothing on it again; every later call throws this.
class DeviceLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The device lacks a capability, for instance an element type.
class Unsupported : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The device cannot be created here, or was given an option value that it does not take.
class Unavailable : public std::runtime_error {
 public:
  Unavailable(const std::string& reason, const std::string& fix) : std::runtime_error(reason), fix(fix) {}
  const std::string fix;
};

}  // namespace lazy_native
