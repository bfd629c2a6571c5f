// The hot loops, compiled once per instruction set and chosen at run time. All of them answer alike: scores of codes
// are integers, and final scores add up in one fixed order per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "view.h"

namespace retrieval {

struct WalkTerms {
  uint32_t wanted = 0;     // eligible rows that the pool keeps: the effort, ef
  uint32_t capacity = 0;   // rows of any kind that it keeps, >= wanted: what a filter may cost
  uint64_t visits = 0;     // rows compared at most; 0: no limit
  int64_t deadline_ns = 0; // on the steady clock; 0: none
  Eligible eligible;
};

// Rows whose scores are as good as equal.
struct Bucket {
  uint32_t head = kNone;  // the last that came of those not expanded yet: its place in the pool
  uint32_t count = 0;
};

// Memory of one walk, made by its owner (WalkMemory): `visited` one bit a row, all clear before and after; `touched`
// notes up to `touched_room` rows, so that few need clearing; `pool` has room for the capacity and one more, or for the
// `pool_room` entries of a walk without filter, `next` as many; `buckets` [kBuckets] are all empty before and after.
struct WalkScratch {
  uint64_t* visited = nullptr;
  uint32_t* touched = nullptr;
  uint32_t touched_room = 0;
  uint64_t* pool = nullptr;
  uint32_t* next = nullptr;
  uint32_t pool_room = 0;
  Bucket* buckets = nullptr;
};

struct WalkOutcome {
  uint32_t found = 0;      // rows in the pool: at least those wanted, unless there are fewer; in no order
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

// Cosines from -1 to 1 in steps of .0005, finer than 8-bit codes can tell apart.
constexpr uint32_t kBuckets = 4096;
static inline uint32_t bucket_of(const QueryCode& query, int32_t score) {
  float place = static_cast<float>(score - query.zero) * query.buckets_per_unit + kBuckets / 2;
  place = place > 0.0f ? place : 0.0f;
  place = place < kBuckets - 1 ? place : kBuckets - 1;
  return static_cast<uint32_t>(static_cast<int32_t>(place));
}

struct Kernels {
  const char* name;
  // Best-first walk from the graph's entry; leaves the pool in scratch.pool
  WalkOutcome (*walk)(const GraphView&, const QueryCode&, const WalkTerms&, WalkScratch&);
  // Every eligible row of [begin, end) against the query; keeps the best `wanted` in `pool` (holding `held` already),
  // returns how many it holds then
  uint32_t (*scan)(const GraphView&, const QueryCode&, const Eligible&, uint32_t begin, uint32_t end, uint32_t wanted,
                   uint64_t* pool, uint32_t held);
  // Final scores [n] of rows [n]: inner products of the 16-bit coordinates with the query
  void (*finish)(const GraphView&, const QueryCode&, const uint32_t* rows, uint32_t n, float* scores);
  // Inner product of two float32 vectors [dim]
  float (*dot)(const float*, const float*, uint32_t dim);
  // Inner products [n] of one query [dim] with consecutive vectors [n * dim]
  void (*dots)(const float* query, const float* vectors, uint32_t n, uint32_t dim, float* scores);
};

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
