#include "search/leaf_search.h"

#include <algorithm>
#include <vector>

#include "search/candidates.h"

namespace retrieval {
namespace {

constexpr uint32_t kRankedMore = 4;     // times as many leaves as before, where these were too few
constexpr size_t kFetchedAhead = 8192;  // bytes of the next leaf; the processor itself follows from there

// The leaves of a query one after the other, nearest first, but for those without rows that may be answered.
class NearLeaves {
 public:
  NearLeaves(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch)
      : context_(context), leaves_(context.view.leaves), running_(running), scratch_(scratch),
        ranked_(context.planner.leaves_to_rank(running.query)) {
    rank_leaves(context_, running_.code, ranked_, scratch_);
    find();
  }

  bool none() const { return at_ == scratch_.leaves.size(); }
  uint32_t begin() const { return leaves_.starts[leaf()]; }
  uint32_t end() const { return leaves_.starts[leaf() + 1]; }
  uint32_t eligible() const { return eligible_; }  // rows of this leaf that may be answered
  uint64_t passed() const { return passed_; }      // rows of this leaf and of all those before it

  void next() {
    at_++;
    find();
  }

  // Has the first rows of this leaf fetched from memory while something else is done.
  void prefetch() const {
    const uint32_t stride = context_.view.stride;
    const uint8_t* const blocks = leaves_.blocks + size_t{stride} * kBlockRows * (begin() / kBlockRows);
    const size_t bytes = std::min(kFetchedAhead, size_t{stride} * (end() - begin()));
    for (size_t b = 0; b < bytes; b += 64) __builtin_prefetch(blocks + b, 0, 3);
  }

 private:
  uint32_t leaf() const { return scratch_.leaves[at_].row; }

  void find() {
    for (;; at_++) {
      while (none() && ranked_ < leaves_.count) rank_more();
      if (none()) return;
      passed_ += end() - begin();
      eligible_ = count_eligible(running_.eligible, begin(), end());
      if (eligible_ > 0) return;
    }
  }

  // More leaves, without those that there were.
  void rank_more() {
    seen_.resize(leaves_.count, false);
    for (const ScoredRow& one : scratch_.leaves) seen_[one.row] = true;
    ranked_ = std::min(leaves_.count, ranked_ * kRankedMore);
    rank_leaves(context_, running_.code, ranked_, scratch_);
    std::erase_if(scratch_.leaves, [this](const ScoredRow& one) { return seen_[one.row]; });
    at_ = 0;
  }

  const SearchContext& context_;
  const Leaves& leaves_;
  const RunningQuery& running_;
  SearchScratch& scratch_;
  uint32_t ranked_, eligible_ = 0;
  size_t at_ = 0;
  uint64_t passed_ = 0;
  std::vector<bool> seen_;
};

bool budget_spent(const RunningQuery& running, uint64_t visits) {
  return (running.query.visit_budget > 0 && visits >= running.query.visit_budget) || running.out_of_time();
}

}  // namespace

void rank_leaves(const SearchContext& context, const QueryCode& code, uint32_t n, SearchScratch& scratch) {
  const Leaves& leaves = context.view.leaves;
  TopList top = scratch.top_leaves.begin(n);
  context.kernels.scan({nullptr, leaves.centres}, context.view.stride, code, Eligible{}, 0, leaves.count, top);
  context.kernels.trim(top);
  scratch.leaves.clear();
  for (uint32_t i = 0; i < top.size; i++) {
    scratch.leaves.push_back({static_cast<float>(top.scores[i]), top.rows[i]});
  }
  scratch.bucket_sort.sort(scratch.leaves, scratch.leaves.size());
}

void search_by_leaves(const SearchContext& context, const RunningQuery& running, SearchScratch& scratch,
                      SearchProgress& progress) {
  const GraphView& view = context.view;
  const Planner& planner = context.planner;
  // Where few rows of a block may be answered, these are fetched one by one
  const bool dense = uint64_t{planner.allowed(running.query)} * kBlockRows >= context.count;
  const CodedRows rows{dense ? nullptr : view.level[0].codes, view.leaves.blocks};
  TopList top = begin_candidates(context, running, scratch);
  LeafProgress seen;
  seen.needed = planner.leaf_rows_needed(running.query);
  NearLeaves near(context, running, scratch);
  if (dense && !near.none()) near.prefetch();
  while (!near.none() && seen.eligible < seen.needed) {
    if (seen.opened > 0 && budget_spent(running, progress.visits)) {
      progress.truncated = true;
      break;
    }
    const uint32_t begin = near.begin(), end = near.end();
    seen.opened += end - begin;
    seen.eligible += near.eligible();
    seen.passed = near.passed();
    progress.visits = seen.eligible;
    near.next();
    if (dense && !near.none()) near.prefetch();
    context.kernels.scan(rows, view.stride, running.code, running.eligible, begin, end, top);
    if (planner.filter_in_the_way(running.query, seen) &&
        planner.scan_fits(running.query, progress.visits, running.time_left_ns())) {
      progress.scan_instead = true;
      return;
    }
  }
  take_candidates(context, top, scratch);
  if (top.size < running.query.k && !progress.truncated && running.query.only == Plan::kNothing) {
    fall_back_to_scan(context, running, progress);
  }
}

}  // namespace retrieval
