// Builds a graph: levels from the top down, nodes in batches that see the same graph, so that the result depends on the
// input and the seed alone, not on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "graph/graph.h"

namespace retrieval {

struct BuildSettings {
  uint32_t m = 16;                 // links of a node in the upper levels; twice as many in level 0
  uint32_t ef_construction = 200;  // candidates weighed for a node's links
  float alpha = 1.1f;              // > 1 keeps more of the long links (Subramanya et al. 2019, DiskANN)
  uint64_t seed = 1;
  unsigned threads = 1;
};

// The leaves that vectors stand in (clustering.h).
struct LeafOrder {
  std::vector<uint32_t> starts{0};  // [leaves + 1]
  std::vector<float> centres;       // [leaves * dim]
};

// Called with the number of rows that are linked, between batches; may throw to stop the build.
using Progress = std::function<void(uint32_t done)>;

// Leaves alone, without links: for vectors that are mostly those which leaves were made of before, and how far searches
// look into them was tuned on. There is at least one leaf.
Graph graph_of_leaves(const float* vectors, uint32_t count, uint32_t dim, uint32_t m, const LeafOrder& leaves,
                      uint32_t rows_per_ef, unsigned threads);

Graph build_graph(const float* vectors, uint32_t count, uint32_t dim, const LeafOrder& leaves,
                  const BuildSettings& settings, const Progress& progress);

}  // namespace retrieval
