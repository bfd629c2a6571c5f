// Finds rows near one another by the leaves they stand in, for the links of a graph: a tenth of what a walk takes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "graph/graph.h"
#include "search/best_first.h"
#include "search/searcher.h"

namespace retrieval {

class NearRows {
 public:
  NearRows(const BuiltGraph& graph, const GraphSettings& settings);

  // The rows nearest to `vector`, as many as settings.effort, best first; without `self` and rows that have an earlier
  // twin. For any number of threads at a time.
  void find(const float* vector, uint32_t self, std::vector<ScoredRow>& found);

  // Share of the nearest rows that are found, for some of the vectors [count * dim] that the graph is of.
  double recall(const float* vectors, unsigned threads);

 private:
  Ask ask_for(const float* vector) const;

  GraphView view_;
  Searcher searcher_;
  const GraphSettings& settings_;
  std::vector<uint64_t> firsts_;  // bits of the rows that have no earlier twin
  uint32_t firsts_count_ = 0;
};

// For a graph with leaves; none where it has none, or where these find too little: a graph would be the worse for it.
std::unique_ptr<NearRows> near_rows(const float* vectors, const BuiltGraph& graph, const GraphSettings& settings);

}  // namespace retrieval
