#include "search/planner.h"

#include <algorithm>

namespace retrieval {
namespace {

constexpr uint64_t kRowsPerExcluded = 2;  // excluded rows are among the nearest as likely as not
constexpr double kExpandedPerExcluded = 0.25;
constexpr uint32_t kExtraEf = 16;         // even a single row is looked for among so many times rows_per_effort
constexpr uint32_t kMaxExtraLeaves = 4;   // times the leaves that are ranked without a filter
constexpr double kFarFilter = 1.5;        // a filter that takes so many times the expected rows keeps away
constexpr double kMaxFilterFactor = 4.0;  // leaves are tried where they may cost a fourth of a scan

}  // namespace

IndexFacts facts_of(const GraphView& view) {
  return {view.levels > 0 ? view.level[0].count : 0, view.leaves.count, view.leaves.rows_per_effort};
}

uint32_t Planner::width(const Ask& ask) const { return std::min(std::max(ask.k, ask.effort), index_.rows); }

uint32_t Planner::allowed(const Ask& ask) const { return ask.allowed != nullptr ? ask.allowed_count : index_.rows; }

// Leaves hold under filters, too. A walk passes rows that may not be answered, and misses some where the filter keeps
// away from the query: it is for indexes without leaves.
Plan Planner::plan(const Ask& ask) const {
  const uint32_t allowed = this->allowed(ask), width = this->width(ask);
  if (allowed == 0 || width == 0 || ask.k == 0) return Plan::kNothing;
  if (ask.only != Plan::kNothing) return ask.only;
  // A scan that a budget of visits ends has seen the first rows only, another plan those near the query
  const bool whole = ask.visits == 0 || ask.visits >= allowed ||
                     (ask.allowed != nullptr && expansions(ask) > static_cast<double>(ask.visits));
  if (width >= allowed && whole) return Plan::kScan;
  const bool has_leaves = index_.leaves > 0;
  if (whole && scan_cost(ask) <= (has_leaves ? leaves_cost(ask) : walk_cost(ask))) return Plan::kScan;
  return has_leaves ? Plan::kLeaves : Plan::kWalk;
}

double Planner::scan_cost(const Ask& ask) const {
  const double words = costs_.skip_word * index_.rows / 64;
  return std::min(words + costs_.gather_row * allowed(ask), costs_.scan_row * index_.rows);
}

double Planner::walk_cost(const Ask& ask) const { return expansions(ask) * costs_.expand_node; }

// Rows whose links a walk follows where the filter has nothing to do with the query.
double Planner::expansions(const Ask& ask) const {
  return double{1} * width(ask) * index_.rows / allowed(ask) + ask.excluded_count * kExpandedPerExcluded;
}

// What leaves cost where a filter has nothing to do with the query; but no more than some times what they cost where it
// keeps none of the near rows away, since whether it does is seen on the way.
double Planner::leaves_cost(const Ask& ask) const {
  const double rows = static_cast<double>(leaf_rows_needed(ask));
  const double rows_per_allowed = double{1} * index_.rows / allowed(ask);
  const double ranking = index_.leaves * costs_.rank_leaf;
  const double expected = ranking + std::min<double>(index_.rows, rows * rows_per_allowed) * costs_.leaf_row;
  return std::min(expected, kMaxFilterFactor * (ranking + std::min<double>(index_.rows, rows) * costs_.leaf_row));
}

uint32_t Planner::walk_capacity(const Ask& ask) const {
  const uint32_t width = this->width(ask);
  if (ask.allowed == nullptr && ask.excluded_count == 0) return width;
  const double expected =
      double{1} * width * index_.rows / std::max(1u, allowed(ask)) + ask.excluded_count * kExpandedPerExcluded;
  return static_cast<uint32_t>(std::min<double>(index_.rows, 2.0 * expected + 64 + ask.excluded_count));
}

uint64_t Planner::leaf_rows_needed(const Ask& ask) const {
  return uint64_t{index_.rows_per_effort} * (uint64_t{width(ask)} + kExtraEf) + kRowsPerExcluded * ask.excluded_count;
}

// A filter takes more leaves: as many more as it keeps rows away, unless it allows most of the near ones.
uint32_t Planner::leaves_to_rank(const Ask& ask) const {
  const uint64_t more = std::min<uint64_t>(kMaxExtraLeaves, index_.rows / std::max(1u, allowed(ask)));
  return leaves_holding(more * leaf_rows_needed(ask));
}

// Half as many again as leaves of mean size would be, since the nearest may be small.
uint32_t Planner::leaves_holding(uint64_t rows) const {
  return static_cast<uint32_t>(std::min<uint64_t>(index_.leaves, rows * index_.leaves / index_.rows * 3 / 2 + 8));
}

bool Planner::filter_in_the_way(const Ask& ask, const LeafProgress& progress) const {
  if (ask.allowed == nullptr || ask.only != Plan::kNothing) return false;
  const uint64_t needed = leaf_rows_needed(ask);
  if (progress.passed < needed || progress.eligible >= needed) return false;
  const double rows_per_eligible =
      static_cast<double>(progress.opened) / static_cast<double>(std::max<uint64_t>(1, progress.eligible));
  const double missing = static_cast<double>(needed - progress.eligible);
  if (missing * rows_per_eligible * costs_.leaf_row > scan_cost(ask)) return true;
  const double expected = static_cast<double>(needed) * index_.rows / std::max(1u, ask.allowed_count);
  return static_cast<double>(progress.passed) > kFarFilter * expected;
}

bool Planner::scan_fits(const Ask& ask, uint64_t visits, int64_t time_left_ns) const {
  if (ask.visits > 0 && visits + allowed(ask) > ask.visits) return false;
  return static_cast<int64_t>(costs_.scan_row * index_.rows) < time_left_ns;
}

}  // namespace retrieval
