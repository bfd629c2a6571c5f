#include "search/searcher.h"

#include "runtime/thread_pool.h"
#include "search/calibration.h"
#include "search/candidates.h"
#include "search/leaf_search.h"
#include "search/scan_search.h"
#include "search/walk_search.h"

namespace retrieval {
namespace {

void mark_excluded(const Ask& ask, std::vector<uint64_t>& bits) {
  for (uint32_t i = 0; i < ask.excluded_count; i++) bits[ask.excluded[i] >> 6] |= uint64_t{1} << (ask.excluded[i] & 63);
}

void clear_excluded(const Ask& ask, std::vector<uint64_t>& bits) {
  for (uint32_t i = 0; i < ask.excluded_count; i++) bits[ask.excluded[i] >> 6] = 0;
}

}  // namespace

Searcher::Searcher(const GraphView& view, const Kernels& kernels)
    : view_(view), kernels_(kernels), facts_(facts_of(view)), row_squares_(largest_squares(view)),
      planner_(facts_, Costs{}) {}

void Searcher::search(const Ask* asks, size_t n, Answer* answers, unsigned threads) {
  ThreadPool::shared().run(n, threads, [&](size_t i) {
    auto scratch = scratch_.lease(facts_.rows, view_.stride);
    answer(asks[i], answers[i], *scratch);
  });
}

void Searcher::answer(const Ask& ask, Answer& answer, SearchScratch& scratch) const {
  answer = Answer{};
  answer.plan = planner_.plan(ask);
  if (answer.plan == Plan::kNothing) return;
  const int64_t deadline = ask.time_ns > 0 ? now_ns() + ask.time_ns : 0;
  const QueryCode code = scratch.encoder.encode(ask.query, view_.dim, view_.scales);
  const Eligible eligible{ask.allowed, ask.excluded_count > 0 ? scratch.excluded.data() : nullptr};
  const RunningQuery query{ask, code, eligible, deadline};
  const SearchContext context = this->context();
  SearchProgress progress;
  mark_excluded(ask, scratch.excluded);
  if (answer.plan == Plan::kWalk) search_by_walk(context, query, scratch, progress);
  if (answer.plan == Plan::kLeaves) search_by_leaves(context, query, scratch, progress);
  if (progress.scan_instead) answer.plan = Plan::kScan;
  if (answer.plan == Plan::kScan) search_by_scan(context, query, scratch, progress);
  clear_excluded(ask, scratch.excluded);
  answer.visits = progress.visits;
  answer.truncated = progress.truncated;
  rescore_candidates(context, query, scratch, answer);
}

void Searcher::calibrate(uint32_t ef) {
  if (facts_.rows == 0) return;
  auto scratch = scratch_.lease(facts_.rows, view_.stride);
  planner_ = Planner(facts_, measured_costs(context(), ef, *scratch));
}

}  // namespace retrieval
