// What a walk over a graph takes and gives (kernels.h), for those who call it and for every instruction set.
#pragma once

#include <cstdint>

#include "graph/eligible.h"
#include "graph/view.h"
#include "runtime/clock.h"  // walks read it (walk.inl)

namespace retrieval {

struct WalkOptions {
  uint32_t ef = 0;          // eligible rows that the candidate list holds
  uint32_t capacity = 0;    // rows of any kind that it holds, >= ef: what a filter may cost
  uint64_t max_visits = 0;  // rows compared at most; 0: no limit
  int64_t deadline_ns = 0;  // on the steady clock; 0: none
  Eligible eligible;
};

// Memory of one walk, lent by its owner (WalkMemory): `visited` has one bit a row, all clear before and after;
// `touched` notes up to `touched_room` rows, so that few need clearing; `candidates` has room for the walk's capacity
// and one more.
struct WalkScratch {
  uint64_t* visited = nullptr;
  uint32_t* touched = nullptr;
  uint32_t touched_room = 0;
  uint64_t* candidates = nullptr;
};

struct WalkResult {
  uint32_t found = 0;      // candidates, best first
  uint32_t eligible = 0;   // how many of them may be answered
  uint64_t visits = 0;     // rows compared
  uint32_t expanded = 0;   // rows whose links were followed
  bool truncated = false;  // stopped by a budget
};

// Entries of the candidate list sort as numbers, best first: score, then the lower row; two flags in the lowest bits.
// The functions are static, since each file's are compiled for its own instructions, and a shared copy might be any of
// them.
constexpr uint64_t kUnexpanded = 1;
constexpr uint64_t kEligible = 2;
static inline uint64_t candidate_entry(int32_t score, uint32_t row, bool eligible) {
  const uint64_t high = static_cast<uint32_t>(score) ^ 0x80000000u;
  const uint64_t low = (static_cast<uint64_t>(~row & (kMaxRows - 1)) << 2) | (eligible ? kEligible : 0) | kUnexpanded;
  return high << 32 | low;
}
static inline int32_t candidate_score(uint64_t entry) {
  return static_cast<int32_t>(static_cast<uint32_t>(entry >> 32) ^ 0x80000000u);
}
static inline uint32_t candidate_row(uint64_t entry) { return ~static_cast<uint32_t>(entry >> 2) & (kMaxRows - 1); }

}  // namespace retrieval
