// Pointers into emulated shared memory: every access is checked and remembered.
#pragma once

#include <cstring>
#include <type_traits>

#include "emulation/machine.h"

namespace emulation {

template <class T>
class SharedReference {
 public:
  explicit SharedReference(std::size_t offset) : offset_(offset) {}
  SharedReference(const SharedReference&) = default;

  operator T() const {  // NOLINT: stands for the value, as a T& would
    T value{};
    if (const std::byte* p = machine().sharedRead(offset_, sizeof(T))) std::memcpy(&value, p, sizeof(T));
    return value;
  }
  SharedReference& operator=(const T& value) {
    if (std::byte* p = machine().sharedWrite(offset_, sizeof(T))) std::memcpy(p, &value, sizeof(T));
    return *this;
  }
  SharedReference& operator=(const SharedReference& other) { return *this = static_cast<T>(other); }
  SharedReference& operator+=(const T& value) { return *this = static_cast<T>(*this) + value; }

 private:
  std::size_t offset_;
};

template <class T>
class SharedPointer {
 public:
  SharedPointer() = default;
  explicit SharedPointer(std::size_t offset) : offset_(offset) {}

  std::size_t offset() const { return offset_; }
  SharedReference<T> operator[](std::ptrdiff_t i) const { return SharedReference<T>(at(i)); }
  SharedReference<T> operator*() const { return (*this)[0]; }
  SharedPointer operator+(std::ptrdiff_t i) const { return SharedPointer(at(i)); }

 private:
  std::size_t at(std::ptrdiff_t i) const {
    return offset_ + static_cast<std::size_t>(i * static_cast<std::ptrdiff_t>(sizeof(T)));
  }
  std::size_t offset_ = 0;
};

}  // namespace emulation
