// Leaves, nearest first: part of Searcher.
#include <algorithm>
#include <vector>

#include "search/scratch.h"

namespace retrieval {
namespace {

constexpr uint64_t kPerExcluded = 2;    // rows more for each excluded one: those are the nearest, as likely as not
constexpr double kFar = 1.5;            // so many times the rows that a filter should take: it keeps away
constexpr double kTried = 4.0;          // leaves are tried where they may cost a fourth of a scan
constexpr uint32_t kLeastEffort = 16;   // even a single row is looked for among so many times rows_per_effort
constexpr uint32_t kRankedMore = 4;     // times as many leaves as before, where these were too few
constexpr size_t kFetchedAhead = 8192;  // bytes of the next leaf; the processor itself follows from there

}  // namespace

// Eligible rows to compare.
uint64_t Searcher::enough(const Ask& ask, uint32_t wanted) const {
  return uint64_t{view_.leaves.rows_per_effort} * (uint64_t{wanted} + kLeastEffort) + kPerExcluded * ask.excluded_count;
}

// What leaves take where a filter has nothing to do with the query; but no more than some times what they take where it
// keeps none of the near rows away, since whether it does is seen on the way.
double Searcher::leaves_cost(const Ask& ask, uint32_t wanted) const {
  const double rows = static_cast<double>(enough(ask, wanted)), each = double{1} * count_ / allowed_of(ask);
  const double ranked = view_.leaves.count * costs_.ranked;
  const double expected = ranked + std::min<double>(count_, rows * each) * costs_.sifted;
  return std::min(expected, kTried * (ranked + std::min<double>(count_, rows) * costs_.sifted));
}

// Half as many again as leaves of mean size would be, for small ones.
uint32_t Searcher::leaves_of(uint64_t rows) const {
  return static_cast<uint32_t>(std::min<uint64_t>(view_.leaves.count, rows * view_.leaves.count / count_ * 3 / 2 + 8));
}

// Leaves by their centres' scores, best first, `most` of them or a few more.
void Searcher::rank_leaves(const QueryCode& query, uint32_t most, Scratch& scratch) const {
  const Leaves& all = view_.leaves;
  Kept kept = scratch.kept_leaves.begin(most);
  kernels_.sift({nullptr, all.centres}, view_.stride, query, Eligible{}, 0, all.count, kept);
  kernels_.settle(kept);
  scratch.ranked.clear();
  for (uint32_t i = 0; i < kept.size; i++) {
    scratch.ranked.push_back({static_cast<float>(kept.scores[i]), kept.rows[i]});
  }
  scratch.best_first.order(scratch.ranked, scratch.ranked.size());
}

// The start of a leaf, on its way from memory while something else is done.
void Searcher::fetch_leaf(uint32_t leaf) const {
  const uint32_t* const bounds = view_.leaves.starts + leaf;
  const uint8_t* const blocks = view_.leaves.blocks + size_t{view_.stride} * (bounds[0] / kBlockRows * kBlockRows);
  const size_t bytes = std::min(kFetchedAhead, size_t{view_.stride} * (bounds[1] - bounds[0]));
  for (size_t b = 0; b < bytes; b += 64) __builtin_prefetch(blocks + b, 0, 3);
}

// The leaves of a query one after the other, nearest first, but for those without rows that may be answered.
class Searcher::NearLeaves {
 public:
  NearLeaves(const Searcher& searcher, const QueryCode& query, const Eligible& eligible, uint32_t expected,
             Scratch& scratch)
      : searcher_(searcher), all_(searcher.view_.leaves), query_(query), eligible_(eligible), scratch_(scratch),
        ranked_(expected) {
    searcher_.rank_leaves(query_, ranked_, scratch_);
    find();
  }

  bool none() const { return at_ == scratch_.ranked.size(); }
  uint32_t leaf() const { return scratch_.ranked[at_].row; }
  uint32_t begin() const { return all_.starts[leaf()]; }
  uint32_t end() const { return all_.starts[leaf() + 1]; }
  uint32_t eligible() const { return found_; }       // rows of this leaf that may be answered
  uint64_t passed_by() const { return passed_by_; }  // rows of this leaf, those before it and those between

  void next() {
    at_++;
    find();
  }

 private:
  void find() {
    for (;; at_++) {
      while (none() && ranked_ < all_.count) rank_more();
      if (none()) return;
      passed_by_ += end() - begin();
      found_ = eligible_between(eligible_, begin(), end());
      if (found_ > 0) return;
    }
  }

  // More leaves, without those that there were.
  void rank_more() {
    seen_.resize(all_.count, false);
    for (const ScoredRow& one : scratch_.ranked) seen_[one.row] = true;
    ranked_ = std::min(all_.count, ranked_ * kRankedMore);
    searcher_.rank_leaves(query_, ranked_, scratch_);
    std::erase_if(scratch_.ranked, [this](const ScoredRow& one) { return seen_[one.row]; });
    at_ = 0;
  }

  const Searcher& searcher_;
  const Leaves& all_;
  const QueryCode& query_;
  const Eligible& eligible_;
  Scratch& scratch_;
  uint32_t ranked_, found_ = 0;
  size_t at_ = 0;
  uint64_t passed_by_ = 0;
  std::vector<bool> seen_;
};

// Whether a scan is the better way from here: it is cheaper, or the filter keeps away from the query, where many leaves
// score alike and nearness of centres says little of their rows.
bool Searcher::filter_in_the_way(const Ask& ask, uint64_t enough, const Looked& looked) const {
  if (ask.allowed == nullptr || ask.only != Plan::kNothing) return false;
  if (looked.near < enough || looked.eligible >= enough) return false;
  const double each = static_cast<double>(looked.at) / static_cast<double>(std::max<uint64_t>(1, looked.eligible));
  if (static_cast<double>(enough - looked.eligible) * each * costs_.sifted > scan_cost(ask)) return true;
  return static_cast<double>(looked.near) >
         kFar * static_cast<double>(enough) * count_ / std::max(1u, ask.allowed_count);
}

void Searcher::leaves(const Ask& ask, const QueryCode& query, uint32_t wanted, int64_t deadline, Answer& answer,
                      Scratch& scratch) {
  const uint64_t enough = this->enough(ask, wanted);
  const Eligible eligible{ask.allowed, ask.excluded_count > 0 ? scratch.excluded.data() : nullptr};
  // where few rows of a block may be answered, these are fetched one by one
  const bool dense = uint64_t{allowed_of(ask)} * kBlockRows >= count_;
  const CodedRows rows{dense ? nullptr : view_.level[0].codes, view_.leaves.blocks};
  Kept kept = kept_of(ask, query, scratch);
  Looked looked;
  // a filter takes more leaves: as many more as it keeps rows away, unless it keeps to the near ones
  const uint64_t more = std::min<uint64_t>(kRankedMore, count_ / std::max(1u, allowed_of(ask)));
  NearLeaves near(*this, query, eligible, leaves_of(more * enough), scratch);
  if (dense && !near.none()) fetch_leaf(near.leaf());
  while (!near.none() && looked.eligible < enough) {
    const bool late = (ask.visits > 0 && answer.visits >= ask.visits) || (deadline > 0 && now_ns() >= deadline);
    if (late && looked.at > 0) {
      answer.truncated = true;
      break;
    }
    const uint32_t begin = near.begin(), end = near.end();
    looked.at += end - begin;
    looked.eligible += near.eligible();
    looked.near = near.passed_by();
    answer.visits = looked.eligible;
    near.next();
    if (dense && !near.none()) fetch_leaf(near.leaf());
    kernels_.sift(rows, view_.stride, query, eligible, begin, end, kept);
    if (filter_in_the_way(ask, enough, looked) && affordable(ask, deadline, answer)) {
      answer.plan = Plan::kScan;
      return;
    }
  }
  settle(kept, scratch);
  if (kept.size < ask.k && !answer.truncated && ask.only == Plan::kNothing) {
    scan_instead(ask, deadline, answer);
  }
}

}  // namespace retrieval
