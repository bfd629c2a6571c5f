// Answers queries over one index: plans each, searches as planned, finishes with final scores; batches on many threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/view.h"
#include "kernels/kernels.h"
#include "runtime/scratch_pool.h"
#include "search/planner.h"
#include "search/query.h"
#include "search/search_context.h"
#include "search/search_scratch.h"

namespace retrieval {

class Searcher {
 public:
  // The view must outlive it. `kernels`: as chosen for this processor.
  Searcher(const GraphView& view, const Kernels& kernels);

  // Hits [n]; the same whatever the number of threads, and whatever else is in the batch.
  void search(const Query* queries, size_t n, Hits* hits, unsigned threads);

  // Times a few searches with this ef and plans by that from now on. Not while others search.
  void calibrate(uint32_t ef);
  const Costs& costs() const { return planner_.costs(); }

 private:
  SearchContext context() const { return {view_, kernels_, planner_, facts_.rows, row_squares_}; }
  void search_one(const Query& query, Hits& hits, SearchScratch& scratch) const;

  const GraphView& view_;
  const Kernels& kernels_;
  const IndexFacts facts_;
  const float row_squares_;
  Planner planner_;
  ScratchPool<SearchScratch> scratch_;
};

}  // namespace retrieval
