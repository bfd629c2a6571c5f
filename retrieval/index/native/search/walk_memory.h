// The memory of walks over one index, one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/walk.h"

namespace retrieval {

class WalkMemory {
 public:
  explicit WalkMemory(uint32_t count) : visited_((size_t{count} + 63) / 64), touched_(visited_.size() / 4 + 64) {}

  // For a walk whose candidate list holds `capacity` rows.
  WalkScratch walk(uint32_t capacity) {
    if (candidates_.size() <= capacity) candidates_.resize(size_t{capacity} + 1);
    return {visited_.data(), touched_.data(), static_cast<uint32_t>(touched_.size()), candidates_.data()};
  }

 private:
  std::vector<uint64_t> visited_, candidates_;
  std::vector<uint32_t> touched_;
};

}  // namespace retrieval
