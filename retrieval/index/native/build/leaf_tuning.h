#pragma once

#include <cstdint>

#include "graph/graph.h"

namespace retrieval {

// Finds how many rows of leaves have to be compared to find what a walk with `ef` finds. Where even many do not, the
// graph is left without leaves.
void tune_leaves(Graph& graph, const float* vectors, uint32_t ef, uint64_t seed, unsigned threads);

}  // namespace retrieval
