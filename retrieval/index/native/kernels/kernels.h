// The hot loops, compiled once per instruction set and chosen at run time. All of them answer alike: scores of codes
// are integers, and final scores add up in one fixed order per instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/eligible.h"
#include "graph/view.h"
#include "kernels/top_list.h"
#include "kernels/walk.h"

namespace retrieval {

struct Kernels {
  const char* name;
  // Best-first walk from the graph's entry; leaves its candidate list in scratch.candidates
  WalkResult (*walk)(const GraphView&, const QueryCode&, const WalkOptions&, WalkScratch&);
  // Quantised scan: compares the eligible ones of the rows [begin, end) and appends the best to the list
  void (*scan)(const CodedRows&, uint32_t stride, const QueryCode&, const Eligible&, uint32_t begin, uint32_t end,
               TopList&);
  // Drops what is not among the best, but for a few rows; of equal scores the rows that came first stay
  void (*trim)(TopList&);
  // The first of the best rows [0, count) of `blocks`, count > 0
  uint32_t (*nearest)(const uint8_t* blocks, uint32_t count, uint32_t stride, const QueryCode&);
  // Final scores [n] of rows [n]: inner products of the 16-bit coordinates with the query
  void (*rescore)(const GraphView&, const QueryCode&, const uint32_t* rows, uint32_t n, float* scores);
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
