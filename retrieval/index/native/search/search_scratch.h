// The memory of one search at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/codes.h"
#include "kernels/top_list.h"
#include "search/bucket_sort.h"
#include "search/walk_memory.h"

namespace retrieval {

// The memory of a top list.
class TopListMemory {
 public:
  // An empty list for the best `k`, and up to `max_size` rows whose scores are lower by no more than `margin`.
  TopList begin(uint32_t k, int32_t margin = 0, uint32_t max_size = 0) {
    TopList top;
    top.k = k;
    top.margin = margin;
    top.max_size = std::max(k, max_size);
    top.capacity = 3 * top.max_size + 1024;
    if (rows_.size() < top.capacity) {
      scores_.resize(top.capacity);
      rows_.resize(top.capacity);
    }
    top.scores = scores_.data();
    top.rows = rows_.data();
    return top;
  }

 private:
  std::vector<int32_t> scores_;
  std::vector<uint32_t> rows_;
};

struct SearchScratch {
  QueryEncoder encoder;
  WalkMemory walk;
  TopListMemory top_rows, top_leaves;
  std::vector<uint64_t> excluded;    // bits of the query's excluded rows; all clear between searches
  std::vector<ScoredRow> leaves;     // ranked, nearest first
  std::vector<uint32_t> candidates;  // rows that get final scores
  std::vector<float> scores;         // of the candidates
  std::vector<ScoredRow> rescored;
  BucketSort bucket_sort;

  SearchScratch(uint32_t count, uint32_t stride) : encoder(stride), walk(count), excluded((size_t{count} + 63) / 64) {}
};

}  // namespace retrieval
