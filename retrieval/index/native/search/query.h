// What is asked of a search, and what it finds.
#pragma once

#include <cstdint>
#include <vector>

namespace retrieval {

// Nothing to be found; the graph's links; every row that may be answered; leaves, nearest first, as many as it takes.
enum class Plan : uint8_t { kNothing, kWalk, kScan, kLeaves };

struct Query {
  const float* vector = nullptr;      // [dim]
  uint32_t k = 0;                     // rows wanted
  uint32_t ef = 0;                    // how many rows a walk weighs, and leaves are looked into as far; at least k
  const uint64_t* allowed = nullptr;  // bits of the rows that may be answered; nullptr: all
  uint32_t allowed_count = 0;         // how many bits are set
  const uint32_t* excluded = nullptr;
  uint32_t excluded_count = 0;
  uint64_t visit_budget = 0;    // rows compared at most, give or take a step's; 0: no limit
  uint32_t time_budget_us = 0;  // time it may take, from its own start, give or take a step's; 0: no limit
  Plan only = Plan::kNothing;   // this plan even where another is cheaper
};

struct Hits {
  std::vector<uint32_t> rows;  // best first; of equal scores the lower row first
  std::vector<float> scores;
  bool truncated = false;  // a budget ended the search early
  Plan plan = Plan::kNothing;
  uint64_t visits = 0;  // rows compared
};

}  // namespace retrieval
