#include "device/blas_places.h"

#include <dirent.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <sstream>

namespace gpu {

namespace {

using Paths = std::vector<std::string>;

const std::string prefix = "libcublasLt.so.";
constexpr int oldest = 12;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Entries of a list like PATH.
Paths listed(const char* name) {
  Paths entries;
  std::istringstream list(variable(name));
  for (std::string entry; std::getline(list, entry, ':');) {
    if (!entry.empty()) entries.push_back(entry);
  }
  return entries;
}

// What lies in a folder under names that begin so, the last in the alphabet first; nothing where it cannot be read. (The C
// library's calls: std::filesystem is a library of its own with the compiler that the binaries are made by.)
Paths within(const std::string& folder, const std::string& begin) {
  Paths found;
  const auto close = [](DIR* open) { closedir(open); };
  const std::unique_ptr<DIR, decltype(close)> open(opendir(folder.c_str()), close);
  if (!open) return found;
  while (const dirent* entry = readdir(open.get())) {
    const std::string name = entry->d_name;
    if (name.rfind(begin, 0) == 0 && name != "." && name != "..") found.push_back(folder + "/" + name);
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

// 13 of libcublasLt.so.13 and of libcublasLt.so.13.1.0.3; 0 for what is no version.
int majorOf(const std::string& file) { return std::atoi(file.c_str() + file.rfind(prefix) + prefix.size()); }

Paths sitePackages() {
  Paths found = listed("PYTHONPATH"), roots;
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const std::string root = variable(name); !root.empty()) roots.push_back(root);
  }
  if (const std::string home = variable("HOME"); !home.empty()) roots.push_back(home + "/.local");
  for (const std::string& folder : listed("PATH")) roots.push_back(folder + "/..");
  for (const std::string& root : roots) {
    for (const std::string& python : within(root + "/lib", "python3")) {
      for (const char* name : {"/site-packages", "/dist-packages"}) found.push_back(python + name);
    }
  }
  return found;
}

}  // namespace

Paths blasPlaces() {
  if (const std::string named = variable("LAZY_ATTENTION_CUBLASLT"); !named.empty()) return {named};
  Paths names, folders;
  for (const int version : {14, 13, 12}) names.push_back(prefix + std::to_string(version));
  for (const std::string& toolkit : within("/usr/local", "cuda")) {
    folders.push_back(toolkit + "/lib64");
    for (const std::string& target : within(toolkit + "/targets", "")) folders.push_back(target + "/lib");
  }
  for (const std::string& packages : sitePackages()) {
    for (const std::string& package : within(packages + "/nvidia", "cu")) folders.push_back(package + "/lib");
  }
  for (const std::string& folder : folders) {
    for (const std::string& file : within(folder, prefix)) {
      if (majorOf(file) >= oldest && std::find(names.begin(), names.end(), file) == names.end()) names.push_back(file);
    }
  }
  std::stable_sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return majorOf(a) > majorOf(b); });
  return names;
}

}  // namespace gpu
