#include "search/planner.h"

#include <algorithm>

namespace retrieval {
namespace {

constexpr uint64_t kRowsPerExcluded = 2;  // excluded rows are among the nearest as likely as not
constexpr double kExpandedPerExcluded = 0.25;
constexpr uint32_t kExtraEf = 16;         // even a single row is looked for among so many times rows_per_ef
constexpr uint32_t kMaxExtraLeaves = 4;   // times the leaves that are ranked without a filter
constexpr double kFarFilter = 1.5;        // a filter that takes so many times the expected rows keeps away
constexpr double kMaxFilterFactor = 4.0;  // leaves are tried where they may cost a fourth of a scan

}  // namespace

IndexFacts facts_of(const GraphView& view) {
  return {view.levels > 0 ? view.level[0].count : 0, view.leaves.count, view.leaves.rows_per_ef};
}

uint32_t Planner::width(const Query& query) const { return std::min(std::max(query.k, query.ef), index_.rows); }

uint32_t Planner::allowed(const Query& query) const {
  return query.allowed != nullptr ? query.allowed_count : index_.rows;
}

// Leaves hold under filters, too. A walk passes rows that may not be answered, and misses some where the filter keeps
// away from the query: it is for indexes without leaves.
Plan Planner::plan(const Query& query) const {
  const uint32_t allowed = this->allowed(query), width = this->width(query);
  if (allowed == 0 || width == 0 || query.k == 0) return Plan::kNothing;
  if (query.only != Plan::kNothing) return query.only;
  // A scan that a budget of visits ends has seen the first rows only, another plan those near the query
  const bool whole = query.visit_budget == 0 || query.visit_budget >= allowed ||
                     (query.allowed != nullptr && expansions(query) > static_cast<double>(query.visit_budget));
  if (width >= allowed && whole) return Plan::kScan;
  const bool has_leaves = index_.leaves > 0;
  if (whole && scan_cost(query) <= (has_leaves ? leaves_cost(query) : walk_cost(query))) return Plan::kScan;
  return has_leaves ? Plan::kLeaves : Plan::kWalk;
}

double Planner::scan_cost(const Query& query) const {
  const double words = costs_.skip_word * index_.rows / 64;
  return std::min(words + costs_.gather_row * allowed(query), costs_.scan_row * index_.rows);
}

double Planner::walk_cost(const Query& query) const { return expansions(query) * costs_.expand_node; }

// Rows whose links a walk follows where the filter has nothing to do with the query.
double Planner::expansions(const Query& query) const {
  return double{1} * width(query) * index_.rows / allowed(query) + query.excluded_count * kExpandedPerExcluded;
}

// What leaves cost where a filter has nothing to do with the query; but no more than some times what they cost where it
// keeps none of the near rows away, since whether it does is seen on the way.
double Planner::leaves_cost(const Query& query) const {
  const double rows = static_cast<double>(leaf_rows_needed(query));
  const double rows_per_allowed = double{1} * index_.rows / allowed(query);
  const double ranking = index_.leaves * costs_.rank_leaf;
  const double expected = ranking + std::min<double>(index_.rows, rows * rows_per_allowed) * costs_.leaf_row;
  return std::min(expected, kMaxFilterFactor * (ranking + std::min<double>(index_.rows, rows) * costs_.leaf_row));
}

uint32_t Planner::walk_capacity(const Query& query) const {
  const uint32_t width = this->width(query);
  if (query.allowed == nullptr && query.excluded_count == 0) return width;
  const double expected =
      double{1} * width * index_.rows / std::max(1u, allowed(query)) + query.excluded_count * kExpandedPerExcluded;
  return static_cast<uint32_t>(std::min<double>(index_.rows, 2.0 * expected + 64 + query.excluded_count));
}

uint64_t Planner::leaf_rows_needed(const Query& query) const {
  return uint64_t{index_.rows_per_ef} * (uint64_t{width(query)} + kExtraEf) + kRowsPerExcluded * query.excluded_count;
}

// A filter takes more leaves: as many more as it keeps rows away, unless it allows most of the near ones.
uint32_t Planner::leaves_to_rank(const Query& query) const {
  const uint64_t more = std::min<uint64_t>(kMaxExtraLeaves, index_.rows / std::max(1u, allowed(query)));
  return leaves_holding(more * leaf_rows_needed(query));
}

// Half as many again as leaves of mean size would be, since the nearest may be small.
uint32_t Planner::leaves_holding(uint64_t rows) const {
  return static_cast<uint32_t>(std::min<uint64_t>(index_.leaves, rows * index_.leaves / index_.rows * 3 / 2 + 8));
}

bool Planner::filter_in_the_way(const Query& query, const LeafProgress& progress) const {
  if (query.allowed == nullptr || query.only != Plan::kNothing) return false;
  const uint64_t needed = progress.needed;
  if (progress.passed < needed || progress.eligible >= needed) return false;
  const double rows_per_eligible =
      static_cast<double>(progress.opened) / static_cast<double>(std::max<uint64_t>(1, progress.eligible));
  const double missing = static_cast<double>(needed - progress.eligible);
  if (missing * rows_per_eligible * costs_.leaf_row > scan_cost(query)) return true;
  const double expected = static_cast<double>(needed) * index_.rows / std::max(1u, query.allowed_count);
  return static_cast<double>(progress.passed) > kFarFilter * expected;
}

bool Planner::scan_fits(const Query& query, uint64_t visits, int64_t time_left_ns) const {
  if (query.visit_budget > 0 && visits + allowed(query) > query.visit_budget) return false;
  return static_cast<int64_t>(costs_.scan_row * index_.rows) < time_left_ns;
}

}  // namespace retrieval
