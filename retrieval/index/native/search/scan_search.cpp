#include "search/scan_search.h"

#include <algorithm>

#include "search/candidates.h"

namespace retrieval {
namespace {

constexpr uint32_t kRowsPerClock = 1 << 15;  // rows between two looks at the clock; a multiple of 64

}  // namespace

void search_by_scan(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch,
                    SearchProgress& progress) {
  const GraphView& view = context.view;
  const CodedRows rows{view.level[0].codes, view.leaves.blocks};
  const uint64_t max_visits = running.query.visit_budget;
  TopList top = begin_candidates(context, running, scratch);
  if (max_visits == 0 && running.deadline_ns == 0) {
    context.kernels.scan(rows, view.stride, running.code, running.eligible, 0, context.count, top);
    progress.visits += context.planner.allowed(running.query);
    take_candidates(context, top, scratch);
    return;
  }
  const uint32_t step = max_visits > 0 ? 64 : kRowsPerClock;
  for (uint32_t begin = 0; begin < context.count; begin += std::min(step, context.count - begin)) {
    const uint32_t end = begin + std::min(step, context.count - begin);
    const uint32_t compared = count_eligible(running.eligible, begin, end);
    if (compared == 0) continue;
    const bool late = top.size > 0 && running.out_of_time();
    if (late || (max_visits > 0 && progress.visits >= max_visits)) {
      progress.truncated = true;
      break;
    }
    context.kernels.scan(rows, view.stride, running.code, running.eligible, begin, end, top);
    progress.visits += compared;
  }
  take_candidates(context, top, scratch);
}

}  // namespace retrieval
