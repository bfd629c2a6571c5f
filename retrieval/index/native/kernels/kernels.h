// The hot loops, compiled once per instruction set and chosen at run time. All of them answer alike: scores of codes
// are integers, and final scores add up in one fixed order per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/view.h"

namespace retrieval {

struct WalkTerms {
  uint32_t wanted = 0;      // eligible rows that the pool keeps: the effort, ef
  uint32_t capacity = 0;    // rows of any kind that it keeps, >= wanted: what a filter may cost
  uint64_t visits = 0;      // rows compared at most; 0: no limit
  int64_t deadline_ns = 0;  // on the steady clock; 0: none
  Eligible eligible;
};

// Memory of one walk, lent by its owner (WalkMemory): `visited` one bit a row, all clear before and after; `touched`
// notes up to `touched_room` rows, so that few need clearing; `pool` holds the walk's capacity and one more.
struct WalkScratch {
  uint64_t* visited = nullptr;
  uint32_t* touched = nullptr;
  uint32_t touched_room = 0;
  uint64_t* pool = nullptr;
};

struct WalkOutcome {
  uint32_t found = 0;      // rows in the pool, best first
  uint32_t eligible = 0;   // how many of them may be answered
  uint64_t visits = 0;     // rows compared
  uint32_t expanded = 0;   // rows whose links were followed
  bool truncated = false;  // stopped by a budget
};

// Functions are static here: each file's are compiled for its own instructions, and a shared copy might be any of them.
// Pool entries sort as numbers, best first: score, then the lower row; two flags in the lowest bits.
constexpr uint64_t kUnexpanded = 1;
constexpr uint64_t kEligible = 2;
static inline uint64_t pool_entry(int32_t score, uint32_t row, bool eligible) {
  const uint64_t high = static_cast<uint32_t>(score) ^ 0x80000000u;
  const uint64_t low = (static_cast<uint64_t>(~row & (kMostRows - 1)) << 2) | (eligible ? kEligible : 0) | kUnexpanded;
  return high << 32 | low;
}
static inline int32_t pool_score(uint64_t entry) {
  return static_cast<int32_t>(static_cast<uint32_t>(entry >> 32) ^ 0x80000000u);
}
static inline uint32_t pool_row(uint64_t entry) { return ~static_cast<uint32_t>(entry >> 2) & (kMostRows - 1); }

// What sifting keeps, in no order: the `wanted` best rows and those that are worse by no more than `margin`. Rows are
// added until there is no room left; then the best stay, and `least` tells whether another may still be one of them.
struct Kept {
  int32_t* scores = nullptr;  // [room]
  uint32_t* rows = nullptr;   // [room]
  uint32_t room = 0;          // more than twice `most`
  uint32_t wanted = 0;
  int32_t margin = 0;
  uint32_t most = 0;  // rows that stay even where more are within the margin, or a few more; >= wanted
  uint32_t size = 0;
  int32_t least = INT32_MIN;
};

struct Kernels {
  const char* name;
  // Best-first walk from the graph's entry; leaves the pool in scratch.pool
  WalkOutcome (*walk)(const GraphView&, const QueryCode&, const WalkTerms&, WalkScratch&);
  // Offers the eligible ones of the rows [begin, end)
  void (*sift)(const CodedRows&, uint32_t stride, const QueryCode&, const Eligible&, uint32_t begin, uint32_t end,
               Kept&);
  // Leaves among the rows kept those that are meant to stay, or a few more; of equal ones at the edge
  // those that came first
  void (*settle)(Kept&);
  // The first of the best rows [0, count) of `blocks`, count > 0
  uint32_t (*nearest)(const uint8_t* blocks, uint32_t count, uint32_t stride, const QueryCode&);
  // Final scores [n] of rows [n]: inner products of the 16-bit coordinates with the query
  void (*finish)(const GraphView&, const QueryCode&, const uint32_t* rows, uint32_t n, float* scores);
  // Inner product of two float32 vectors [dim]
  float (*dot)(const float*, const float*, uint32_t dim);
  // Inner products [n] of one query [dim] with consecutive vectors [n * dim]
  void (*dots)(const float* query, const float* vectors, uint32_t n, uint32_t dim, float* scores);
};

// The steady clock, which deadlines are on.
int64_t now_ns();

// The best that this processor can run.
const Kernels& kernels();
// By name; nullptr where this processor can't run it.
const Kernels* kernels_named(const char* name);

extern const Kernels kPortable;
#ifdef RETRIEVAL_X86_64
extern const Kernels kAvx2;
extern const Kernels kAvx512;
#endif

}  // namespace retrieval
