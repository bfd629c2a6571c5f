// Leaves: rows arranged so that those near each other stand together, found by their centres. Comparing consecutive
// rows costs a tenth of following links, so that for tens of candidates and more a look into some leaves beats a walk.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace retrieval {

struct Arrangement {
  std::vector<uint32_t> order;   // [count] the row that belongs at each place
  std::vector<uint32_t> starts;  // [leaves + 1] first place of each leaf
  std::vector<float> centres;    // [leaves * dim] unit vectors
};

// Spherical k-means (Dhillon & Modha 2001) with 3 * sqrt(count) leaves over a sample; within a leaf rows keep their
// order. Fewer than 4,096 vectors stay as they are, without leaves. The same for any number of threads.
Arrangement arrange(const float* vectors, uint32_t count, uint32_t dim, uint64_t seed, unsigned threads);

// Gives the graph, whose codes are made, the leaves that its vectors stand in.
void add_leaves(BuiltGraph& graph, const LeafOrder& order);

// Finds how many rows have to be compared to find what a walk with `effort` finds. Where even many do not, the graph is
// left without leaves.
void tune_leaves(BuiltGraph& graph, const float* vectors, uint32_t effort, uint64_t seed, unsigned threads);

}  // namespace retrieval
