// Finds rows near one another by the leaves they stand in, for the links of a graph: a tenth of what a walk takes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "build/build_graph.h"
#include "graph/graph.h"
#include "search/bucket_sort.h"
#include "search/searcher.h"

namespace retrieval {

class LeafNeighbours {
 public:
  LeafNeighbours(const Graph& graph, const BuildSettings& settings);

  // The rows nearest to `vector`, as many as ef_construction, best first; without `self` and without duplicates of
  // earlier rows. For any number of threads at a time.
  void find(const float* vector, uint32_t self, std::vector<ScoredRow>& found);

  // Share of the nearest rows that are found, for some of the vectors [count * dim] that the graph is of.
  double recall(const float* vectors, unsigned threads);

 private:
  Query query_for(const float* vector) const;

  GraphView view_;
  Searcher searcher_;
  const BuildSettings& settings_;
  std::vector<uint64_t> distinct_;  // bits of the rows that are no duplicates of earlier ones
  uint32_t distinct_count_ = 0;
};

// For a graph with leaves; none where it has none, or where they find too little: a graph would be the worse for it.
std::unique_ptr<LeafNeighbours> leaf_neighbours(const float* vectors, const Graph& graph,
                                                const BuildSettings& settings);

}  // namespace retrieval
