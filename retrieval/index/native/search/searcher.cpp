#include "search/searcher.h"

#include "runtime/thread_pool.h"
#include "search/calibration.h"
#include "search/candidates.h"
#include "search/leaf_search.h"
#include "search/scan_search.h"
#include "search/walk_search.h"

namespace retrieval {
namespace {

void mark_excluded(const Query& query, std::vector<uint64_t>& bits) {
  for (uint32_t i = 0; i < query.excluded_count; i++)
    bits[query.excluded[i] >> 6] |= uint64_t{1} << (query.excluded[i] & 63);
}

void clear_excluded(const Query& query, std::vector<uint64_t>& bits) {
  for (uint32_t i = 0; i < query.excluded_count; i++) bits[query.excluded[i] >> 6] = 0;
}

}  // namespace

Searcher::Searcher(const GraphView& view, const Kernels& kernels)
    : view_(view), kernels_(kernels), facts_(facts_of(view)), row_squares_(largest_squares(view)),
      planner_(facts_, Costs{}) {}

void Searcher::search(const Query* queries, size_t n, Hits* hits, unsigned threads) {
  ThreadPool::shared().run(n, threads, [&](size_t i) {
    auto scratch = scratch_.lease(facts_.rows, view_.stride);
    search_one(queries[i], hits[i], *scratch);
  });
}

void Searcher::search_one(const Query& query, Hits& hits, SearchScratch& scratch) const {
  hits = Hits{};
  hits.plan = planner_.plan(query);
  if (hits.plan == Plan::kNothing) return;
  const int64_t deadline = query.time_budget_us > 0 ? now_ns() + int64_t{1000} * query.time_budget_us : 0;
  const QueryCode code = scratch.encoder.encode(query.vector, view_.dim, view_.scales);
  const Eligible eligible{query.allowed, query.excluded_count > 0 ? scratch.excluded.data() : nullptr};
  const RunningQuery running{query, code, eligible, deadline};
  const SearchContext context = this->context();
  SearchProgress progress;
  mark_excluded(query, scratch.excluded);
  if (hits.plan == Plan::kWalk) search_by_walk(context, running, scratch, progress);
  if (hits.plan == Plan::kLeaves) search_by_leaves(context, running, scratch, progress);
  if (progress.scan_instead) hits.plan = Plan::kScan;
  if (hits.plan == Plan::kScan) search_by_scan(context, running, scratch, progress);
  clear_excluded(query, scratch.excluded);
  hits.visits = progress.visits;
  hits.truncated = progress.truncated;
  rescore_candidates(context, running, scratch, hits);
}

void Searcher::calibrate(uint32_t ef) {
  if (facts_.rows == 0) return;
  auto scratch = scratch_.lease(facts_.rows, view_.stride);
  planner_ = Planner(facts_, measured_costs(context(), ef, *scratch));
}

}  // namespace retrieval
