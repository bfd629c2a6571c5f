// Chooses how each query is searched, by what steps cost on this machine, and says when a search has seen enough. Reads
// numbers alone: no index, no clock, so that its choices can be tested by themselves.
#pragma once

#include <cstdint>

#include "graph/view.h"
#include "search/query.h"

namespace retrieval {

// What a plan depends on of an index.
struct IndexFacts {
  uint32_t rows = 0;
  uint32_t leaves = 0;       // 0: the index has links instead
  uint32_t rows_per_ef = 0;  // rows of leaves that are compared for one more of ef
};

IndexFacts facts_of(const GraphView& view);

// What one step of a search costs, in nanoseconds.
struct Costs {
  double expand_node = 200.0;  // following the links of a row
  double scan_row = 2.5;       // a row of a scan over all
  double gather_row = 4.0;     // a row fetched by itself
  double skip_word = 0.5;      // 64 rows none of which is allowed
  double rank_leaf = 1.0;      // scoring a leaf's centre
  double leaf_row = 2.0;       // a row of a leaf
};

// How far a search through leaves has come, in rows.
struct LeafProgress {
  uint64_t needed = 0;    // leaf_rows_needed of the query
  uint64_t passed = 0;    // of the nearest leaves, those without eligible rows included
  uint64_t opened = 0;    // of the leaves that had eligible rows and were opened
  uint64_t eligible = 0;  // of these leaves, the rows that may be answered
};

class Planner {
 public:
  Planner(const IndexFacts& index, const Costs& costs) : index_(index), costs_(costs) {}

  const Costs& costs() const { return costs_; }

  // The cheapest plan that finds what a search with this ef has to find.
  Plan plan(const Query& query) const;

  // How many of the best rows a search weighs: ef, but at least k, and no more than there are.
  uint32_t width(const Query& query) const;
  // How many rows the filter allows, excluded ones among them.
  uint32_t allowed(const Query& query) const;
  // How many rows of any kind a walk's candidate list holds, so that enough of them may be answered.
  uint32_t walk_capacity(const Query& query) const;

  // How many eligible rows of leaves have to be compared.
  uint64_t leaf_rows_needed(const Query& query) const;
  // How many leaves to rank in the first place, to have that many rows.
  uint32_t leaves_to_rank(const Query& query) const;
  // Whether a scan is the better way from here: it is cheaper, or the filter keeps away from the query, where many
  // leaves score alike and nearness of centres says little of their rows.
  bool filter_in_the_way(const Query& query, const LeafProgress& progress) const;

  // Whether budgets leave enough for a whole scan after so many visits; half of one is worth less than what there is.
  bool scan_fits(const Query& query, uint64_t visits, int64_t time_left_ns) const;

  double scan_cost(const Query& query) const;
  double walk_cost(const Query& query) const;
  double leaves_cost(const Query& query) const;

 private:
  double expansions(const Query& query) const;
  uint32_t leaves_holding(uint64_t rows) const;

  IndexFacts index_;
  Costs costs_;
};

}  // namespace retrieval
