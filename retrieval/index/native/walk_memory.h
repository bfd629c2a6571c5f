// The memory of walks over one index, one walk at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "codes.h"
#include "kernels.h"
#include "lines.h"

namespace retrieval {

class WalkMemory {
 public:
  WalkMemory(uint32_t count, uint32_t stride)
      : code_(stride), scaled_(stride), visited_((size_t{count} + 63) / 64), touched_(visited_.size() / 4 + 64),
        buckets_(kBuckets) {}

  // The query in codes, until the next one.
  QueryCode encoded(const float* query, uint32_t dim, const float* scales) {
    return encode_query(query, dim, scales, code_.data(), scaled_.data());
  }

  // For a walk that keeps `wanted` rows, or with a filter `capacity` of any kind.
  WalkScratch lent(uint32_t wanted, uint32_t capacity) {
    const size_t room = 4 * size_t{wanted} + 1024;  // what falls out stays until there is no room left
    grow_pool(std::max(room, size_t{capacity} + 1));
    if (next_.size() < room) next_.resize(room);
    return {visited_.data(), touched_.data(), static_cast<uint32_t>(touched_.size()), pool_.data(),
            next_.data(),    static_cast<uint32_t>(room), buckets_.data()};
  }

  // Entries of the last walk, or room for those of a scan.
  uint64_t* pool() { return pool_.data(); }
  void grow_pool(size_t entries) {
    if (pool_.size() < entries) pool_.resize(entries);
  }

 private:
  Lines<int8_t> code_;
  Lines<float> scaled_;
  std::vector<uint64_t> visited_, pool_;
  std::vector<uint32_t> touched_, next_;
  std::vector<Bucket> buckets_;
};

}  // namespace retrieval
