#include "search/walk_search.h"

namespace retrieval {

void search_by_walk(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch,
                    SearchProgress& progress) {
  WalkOptions options;
  options.ef = context.planner.width(running.query);
  options.capacity = context.planner.walk_capacity(running.query);
  options.max_visits = running.query.visit_budget;
  options.deadline_ns = running.deadline_ns;
  options.eligible = running.eligible;
  WalkScratch memory = scratch.walk.walk(std::max(options.ef, options.capacity));
  const WalkResult found = context.kernels.walk(context.view, running.code, options, memory);
  progress.visits = found.visits;
  progress.truncated = found.truncated;
  // The list was full of rows that may not be answered, or no link leads to a part of the graph
  if (found.eligible < options.ef && !found.truncated && running.query.only == Plan::kNothing) {
    fall_back_to_scan(context, running, progress);
  }
  scratch.candidates.clear();
  for (uint32_t j = 0; j < found.found; j++) {
    if (memory.candidates[j] & kEligible) scratch.candidates.push_back(candidate_row(memory.candidates[j]));
  }
}

}  // namespace retrieval
