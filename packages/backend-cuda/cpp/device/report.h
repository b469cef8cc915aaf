// What a device did where it had a choice: counted by the queue, asked for by the JavaScript thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace gpu {

// How often each way was launched. What is recorded into a graph counts as it is recorded.
class Launches {
 public:
  void add(ProductWay way) { ++products_[static_cast<std::size_t>(way)]; }
  void add(AttentionWay way) { ++attention_[static_cast<std::size_t>(way)]; }
  void addGrad(AttentionWay way) { ++grad_[static_cast<std::size_t>(way)]; }
  // 'attentionGrad hopper': 3; all that can be.
  std::map<std::string, std::uint64_t> counts() const {
    static constexpr const char* products[] = {"own", "cublasLt"};
    static constexpr const char* attention[] = {"exact", "mma", "hopper", "decode"};
    std::map<std::string, std::uint64_t> counts;
    for (std::size_t i = 0; i < products_.size(); ++i)
      counts[std::string("matmul ") + products[i]] = products_[i].load();
    for (std::size_t i = 0; i < attention_.size(); ++i) {
      counts[std::string("attention ") + attention[i]] = attention_[i].load();
      // A gradient has many rows.
      if (i != static_cast<std::size_t>(AttentionWay::decode))
        counts[std::string("attentionGrad ") + attention[i]] = grad_[i].load();
    }
    return counts;
  }

 private:
  using Count = std::atomic<std::uint64_t>;
  std::array<Count, 2> products_{};
  std::array<Count, 4> attention_{}, grad_{};
};

// What a user is to hear.
class Warnings {
 public:
  void add(std::string text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    texts_.push_back(std::move(text));
  }
  std::vector<std::string> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(texts_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> texts_;
};

}  // namespace gpu
