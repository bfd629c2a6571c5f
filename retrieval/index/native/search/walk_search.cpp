#include "search/walk_search.h"

namespace retrieval {

void search_by_walk(const SearchContext& context, const RunningQuery& query, SearchScratch& scratch,
                    SearchProgress& progress) {
  WalkOptions options;
  options.ef = context.planner.width(query.ask);
  options.capacity = context.planner.walk_capacity(query.ask);
  options.max_visits = query.ask.visits;
  options.deadline_ns = query.deadline_ns;
  options.eligible = query.eligible;
  WalkScratch memory = scratch.walk.walk(std::max(options.ef, options.capacity));
  const WalkResult found = context.kernels.walk(context.view, query.code, options, memory);
  progress.visits = found.visits;
  progress.truncated = found.truncated;
  // The list was full of rows that may not be answered, or no link leads to a part of the graph
  if (found.eligible < options.ef && !found.truncated && query.ask.only == Plan::kNothing) {
    fall_back_to_scan(context, query, progress);
  }
  scratch.candidates.clear();
  for (uint32_t j = 0; j < found.found; j++) {
    if (memory.pool[j] & kEligible) scratch.candidates.push_back(pool_row(memory.pool[j]));
  }
}

}  // namespace retrieval
