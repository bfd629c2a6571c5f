#pragma once

#include <cstdint>

namespace retrieval {

// The best rows of a scan, in no order: the `k` best and those whose scores are lower by no more than `margin`. Rows
// are appended until the list is full; then it is trimmed to the best ones, and `threshold` rises to the score that a
// row needs to be one of them.
struct TopList {
  int32_t* scores = nullptr;  // [capacity]
  uint32_t* rows = nullptr;   // [capacity]
  uint32_t capacity = 0;      // more than twice max_size
  uint32_t k = 0;
  int32_t margin = 0;
  uint32_t max_size = 0;  // about so many stay even where more are within the margin; >= k
  uint32_t size = 0;
  int32_t threshold = INT32_MIN;
};

}  // namespace retrieval
