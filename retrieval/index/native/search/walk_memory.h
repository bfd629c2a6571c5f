// The memory of walks over one index, one at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "graph/codes.h"
#include "kernels/kernels.h"
#include "runtime/aligned.h"

namespace retrieval {

class WalkMemory {
 public:
  WalkMemory(uint32_t count, uint32_t stride)
      : code_(stride), scaled_(stride), visited_((size_t{count} + 63) / 64), touched_(visited_.size() / 4 + 64) {}

  // The query in codes, until the next one.
  QueryCode encoded(const float* query, uint32_t dim, const float* scales) {
    return encode_query(query, dim, scales, code_.data(), scaled_.data());
  }

  // For a walk that keeps `capacity` rows.
  WalkScratch walk(uint32_t capacity) {
    if (pool_.size() <= capacity) pool_.resize(size_t{capacity} + 1);
    return {visited_.data(), touched_.data(), static_cast<uint32_t>(touched_.size()), pool_.data()};
  }

 private:
  Lines<int8_t> code_;
  Lines<float> scaled_;
  std::vector<uint64_t> visited_, pool_;
  std::vector<uint32_t> touched_;
};

}  // namespace retrieval
